//! A stock exchange that there is none of: 500 symbols whose prices walk at random, and a candle of
//! each every five seconds. The same walk for the same seed. Called by `demo`.

use fastrand::Rng;

use super::{Now, Publish};

/// How many symbols there are.
pub(super) const SYMBOLS: usize = 500;
/// How long one candle lasts.
const CANDLE_MS: u64 = 5_000;
/// How often the lobby hears of the symbol that moved most.
const NEWS_EVERY_MS: u64 = 20_000;
/// When it first does.
const NEWS_FIRST_MS: u64 = 1_000;
/// What the prices did before anyone looked: so many candles, of so many steps each.
const PAST_CANDLES: u64 = 60;
const PAST_STEPS: u64 = 10;
const SYLLABLES: [&str; 25] = [
    "AL", "BA", "CO", "DU", "EX", "FI", "GO", "HU", "IX", "JA", "KO", "LU", "MI", "NO", "OR", "PA",
    "QI", "RO", "SU", "TA", "UN", "VE", "WI", "XE", "ZO",
];

pub(super) struct Market {
    stocks: Vec<Stock>,
    updates_per_second: u64,
    published: u64,
    candles: u64,
    news: u64,
    random: Rng,
}

struct Stock {
    symbol: String,
    opened: f64,
    price: f64,
    volume: u64,
    candle: Candle,
}

/// What a price did in a stretch of time.
#[derive(Clone, Copy)]
struct Candle {
    open: f64,
    high: f64,
    low: f64,
}

impl Candle {
    fn at(price: f64) -> Self {
        Self { open: price, high: price, low: price }
    }
}

impl Market {
    pub(super) fn new(updates_per_second: u32, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let stocks = (0..SYMBOLS).map(|index| Stock::new(index, &mut random)).collect();
        let updates_per_second = updates_per_second.into();
        Self { stocks, updates_per_second, published: 0, candles: 0, news: 0, random }
    }

    pub(super) fn advance(&mut self, now: Now, publish: &mut Publish<'_>) {
        if self.published == 0 {
            self.live_through_the_past(now, publish);
            self.stocks.iter().for_each(|stock| stock.publish(now, publish));
            self.published = SYMBOLS as u64;
        }
        let due = SYMBOLS as u64 + now.running_ms * self.updates_per_second / 1_000;
        for _ in self.published..due {
            let index = self.random.usize(..SYMBOLS);
            self.stocks[index].step(&mut self.random);
            self.stocks[index].publish(now, publish);
        }
        self.published = due.max(self.published);
        if now.running_ms / CANDLE_MS != self.candles {
            self.candles = now.running_ms / CANDLE_MS;
            self.close_candles(now.unix_ms, publish);
        }
        self.tell_news(now, publish);
    }

    /// So that a chart has something to show from the first moment on.
    fn live_through_the_past(&mut self, now: Now, publish: &mut Publish<'_>) {
        for ago in (0..PAST_CANDLES).rev() {
            for stock in &mut self.stocks {
                (0..PAST_STEPS).for_each(|_| stock.step(&mut self.random));
            }
            self.close_candles(now.unix_ms.saturating_sub(ago * CANDLE_MS), publish);
        }
    }

    fn close_candles(&mut self, unix_ms: u64, publish: &mut Publish<'_>) {
        for stock in &mut self.stocks {
            let Candle { open, high, low } = stock.candle;
            let payload = format!(
                r#"{{"at_ms":{},"open":{open:.2},"high":{high:.2},"low":{low:.2},"close":{:.2}}}"#,
                unix_ms, stock.price
            );
            publish(&format!("demo/candles/{}", stock.symbol), payload.as_bytes());
            stock.candle = Candle::at(stock.price);
        }
    }

    /// What a broker who talks too much would say in the lobby.
    fn tell_news(&mut self, now: Now, publish: &mut Publish<'_>) {
        let due = (now.running_ms + NEWS_EVERY_MS - NEWS_FIRST_MS) / NEWS_EVERY_MS;
        if due == self.news {
            return;
        }
        self.news = due;
        let moved = |stock: &&Stock| (stock.change().abs() * 100.0) as u64;
        let Some(stock) = self.stocks.iter().max_by_key(moved) else { return };
        let (symbol, change) = (&stock.symbol, stock.change());
        let payload =
            format!(r#"{{"from":"Market","text":"{symbol} is at {change:+.2} % today."}}"#);
        publish("demo/chat/lobby", payload.as_bytes());
    }
}

impl Stock {
    /// Each symbol is two syllables of a name nobody bears.
    fn new(index: usize, random: &mut Rng) -> Self {
        let second = (index / SYLLABLES.len() + index * 7 + 3) % SYLLABLES.len();
        let symbol = format!("{}{}", SYLLABLES[index % SYLLABLES.len()], SYLLABLES[second]);
        let price = 10.0 + random.f64() * 490.0;
        Self { symbol, opened: price, price, volume: 0, candle: Candle::at(price) }
    }

    /// One step of the walk, drawn back a little to where it began, so that it stays in sight.
    fn step(&mut self, random: &mut Rng) {
        let drift = (self.opened / self.price - 1.0) * 0.002;
        let step = (random.f64() + random.f64() + random.f64() - 1.5) * 0.004;
        self.price = (self.price * (1.0 + drift + step)).max(0.01);
        self.volume += u64::from(random.u32(1..500));
        self.candle.high = self.candle.high.max(self.price);
        self.candle.low = self.candle.low.min(self.price);
    }

    fn change(&self) -> f64 {
        (self.price / self.opened - 1.0) * 100.0
    }

    fn publish(&self, now: Now, publish: &mut Publish<'_>) {
        let (symbol, price, volume) = (&self.symbol, self.price, self.volume);
        let payload = format!(
            r#"{{"symbol":"{symbol}","price":{price:.2},"change":{:.2},"volume":{volume},"at_ms":{}}}"#,
            self.change(),
            now.unix_ms
        );
        publish(&format!("demo/ticker/{symbol}"), payload.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_symbol_is_there_once() {
        let market = Market::new(0, 1);
        let symbols: BTreeSet<&str> =
            market.stocks.iter().map(|stock| stock.symbol.as_str()).collect();
        assert_eq!(symbols.len(), SYMBOLS);
    }

    #[test]
    fn a_candle_holds_what_the_price_did() {
        let mut market = Market::new(1_000, 1);
        let mut candles = Vec::new();
        let mut publish = |topic: &str, payload: &[u8]| {
            if topic.starts_with("demo/candles/") {
                candles.push(serde_json::from_slice::<serde_json::Value>(payload).unwrap());
            }
        };
        for tick in 0..=251 {
            market.advance(Now { running_ms: tick * 20, unix_ms: 7 }, &mut publish);
        }
        assert_eq!(candles.len(), (PAST_CANDLES as usize + 1) * SYMBOLS);
        for candle in candles {
            let [open, high, low, close] =
                ["open", "high", "low", "close"].map(|name| candle[name].as_f64().unwrap());
            assert!(low <= open && low <= close && high >= open && high >= close, "{candle}");
        }
    }
}
