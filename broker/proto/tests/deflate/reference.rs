//! A second inflater, written from RFC 1951 alone and slow, to hold the one in use against: it also
//! tells how far back a stream refers, which zlib does not.

/// What is read from a stream, and how far back it refers at most.
pub(crate) struct Inflated {
    pub(crate) bytes: Vec<u8>,
    pub(crate) farthest: usize,
}

/// Inflates all blocks of `stream` behind the bytes of `history`, up to its end at a byte boundary.
/// None if it is no whole stream of blocks.
pub(crate) fn inflate(stream: &[u8], history: &[u8]) -> Option<Inflated> {
    let mut bits = Bits { stream, at: 0 };
    let mut out = Out { bytes: history.to_vec(), farthest: 0 };
    while bits.at.div_ceil(8) < stream.len() {
        let is_last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, &mut out)?,
            1 => {
                let (lengths, distances) = fixed();
                block(&mut bits, &mut out, &lengths, &distances)?;
            }
            2 => {
                let (lengths, distances) = dynamic(&mut bits)?;
                block(&mut bits, &mut out, &lengths, &distances)?;
            }
            _ => return None,
        }
        if is_last {
            bits.at = bits.at.next_multiple_of(8);
        }
    }
    let bytes = out.bytes.split_off(history.len());
    (bits.at == 8 * stream.len()).then_some(Inflated { bytes, farthest: out.farthest })
}

struct Out {
    bytes: Vec<u8>,
    farthest: usize,
}

struct Bits<'a> {
    stream: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<usize> {
        let mut value = 0;
        for place in 0..count {
            let byte = *self.stream.get(self.at / 8)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }
}

/// Symbols by the length of their code and the code (§3.2.2).
struct Codes(Vec<(usize, usize)>);

impl Codes {
    fn new(lengths: &[usize]) -> Self {
        let mut codes = vec![(0, 0); lengths.len()];
        let mut code = 0;
        for length in 1..=15 {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, its)| **its == length) {
                codes[symbol] = (length, code);
                code += 1;
            }
            code <<= 1;
        }
        Self(codes)
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let mut code = 0;
        for length in 1..=15 {
            code = code << 1 | bits.take(1)?;
            if let Some(symbol) = self.0.iter().position(|&known| known == (length, code)) {
                return Some(symbol);
            }
        }
        None
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Out) -> Option<()> {
    bits.at = bits.at.next_multiple_of(8);
    let (length, check) = (bits.take(16)?, bits.take(16)?);
    let start = bits.at / 8;
    out.bytes.extend_from_slice(bits.stream.get(start..start + length)?);
    bits.at += 8 * length;
    (length ^ check == 0xffff).then_some(())
}

fn fixed() -> (Codes, Codes) {
    let lengths: Vec<usize> = (0..288)
        .map(|symbol| match symbol {
            0..=143 => 8,
            144..=255 => 9,
            256..=279 => 7,
            _ => 8,
        })
        .collect();
    (Codes::new(&lengths), Codes::new(&[5; 30]))
}

fn dynamic(bits: &mut Bits<'_>) -> Option<(Codes, Codes)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances) = (bits.take(5)? + 257, bits.take(5)? + 1);
    let count = bits.take(4)? + 4;
    let mut lengths = [0; 19];
    for &place in &ORDER[..count] {
        lengths[place] = bits.take(3)?;
    }
    let codes = Codes::new(&lengths);
    let mut all = Vec::new();
    while all.len() < literals + distances {
        let (value, times) = match codes.symbol(bits)? {
            16 => (*all.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        all.extend(std::iter::repeat_n(value, times));
    }
    let distances = all.split_off(literals);
    Some((Codes::new(&all), Codes::new(&distances)))
}

fn block(bits: &mut Bits<'_>, out: &mut Out, literals: &Codes, distances: &Codes) -> Option<()> {
    loop {
        let symbol = literals.symbol(bits)?;
        match symbol {
            0..256 => out.bytes.push(symbol as u8),
            256 => return Some(()),
            _ => {
                let length = length_of(symbol, bits)?;
                let distance = distance_of(distances.symbol(bits)?, bits)?;
                out.farthest = out.farthest.max(distance);
                let start = out.bytes.len().checked_sub(distance)?;
                for place in start..start + length {
                    out.bytes.push(out.bytes[place]);
                }
            }
        }
    }
}

/// The table of §3.2.5: groups of four lengths codes share a number of further bits.
fn length_of(symbol: usize, bits: &mut Bits<'_>) -> Option<usize> {
    match symbol {
        257..265 => Some(symbol - 254),
        265..285 => {
            let extra = (symbol - 261) / 4;
            Some(3 + ((4 + (symbol - 261) % 4) << extra) + bits.take(extra)?)
        }
        285 => Some(258),
        _ => None,
    }
}

fn distance_of(symbol: usize, bits: &mut Bits<'_>) -> Option<usize> {
    match symbol {
        0..4 => Some(symbol + 1),
        4..30 => {
            let extra = symbol / 2 - 1;
            Some(1 + ((2 + symbol % 2) << extra) + bits.take(extra)?)
        }
        _ => None,
    }
}
