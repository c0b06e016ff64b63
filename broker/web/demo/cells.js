// The numbers of the stock board, on one canvas over its buttons: a price that changes is a few
// strokes, and the browser has nothing to lay out. The buttons below have the names, the focus and
// the clicks. Draws what changed and is in sight, once a frame. Used by ticker.js.

import { colour, onTheme } from "/assets/demo/stage.js";

const FLASH_MS = 350;
const PADDING = 10;
const ROUNDING = 7;
const TEXT_LINE = 20;
const LINE_HEIGHT = 20;
/** Prices of a tile that its line shows. */
export const PRICES_KEPT = 40;

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export class Cells {
  #board;
  #canvas = document.createElement("canvas");
  #pen = this.#canvas.getContext("2d");
  #tiles = [];
  #changed = new Set();
  #flashing = new Set();
  #colours = {};
  #fonts = [];
  #isWhole = false;
  #columns = 1;
  #size = { width: 0, height: 0, acrossEach: 0, downEach: 0 };

  constructor(board) {
    this.#board = board;
    this.#canvas.setAttribute("aria-hidden", "true");
    board.after(this.#canvas);
    board.addEventListener("scroll", () => (this.#isWhole = false));
    onTheme(() => this.measure());
    new ResizeObserver(() => this.measure()).observe(board);
    const draw = (now) => {
      this.#draw(now);
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  get columns() {
    return this.#columns;
  }

  /** These and no others, in this order. */
  show(tiles) {
    for (const tile of this.#tiles) tile.place = -1;
    for (const [place, tile] of tiles.entries()) tile.place = place;
    this.#tiles = tiles;
    this.measure();
  }

  /** Another price of a tile has come. */
  change(tile) {
    this.#changed.add(tile);
  }

  /** The tiles are all of one size, so one of them tells where every other stands. */
  measure() {
    const { gridTemplateColumns, gap, font } = getComputedStyle(this.#board);
    const first = this.#tiles[0]?.item;
    if (!first) {
      this.#isWhole = false;
      return;
    }
    const [width, height] = [this.#board.clientWidth, this.#board.clientHeight];
    const scale = devicePixelRatio;
    this.#columns = gridTemplateColumns.split(" ").length;
    const space = parseFloat(gap);
    const { width: across, height: down } = first.getBoundingClientRect();
    this.#size = { width: across, height: down, acrossEach: across + space, downEach: down + space };
    Object.assign(this.#canvas, { width: width * scale, height: height * scale });
    Object.assign(this.#canvas.style, { width: `${width}px`, height: `${height}px` });
    this.#pen.scale(scale, scale);
    this.#fonts = [font, font.replace(/[\d.]+px/, (size) => `${0.85 * parseFloat(size)}px`)];
    this.#pen.lineWidth = 1.2;
    this.#pen.lineJoin = "round";
    this.#colours = Object.fromEntries(
      ["ink", "up", "down", "up-line", "down-line", "up-faint", "down-faint"].map((name) => [name, colour(`--${name}`)]),
    );
    this.#isWhole = false;
  }

  #draw(now) {
    const { downEach } = this.#size;
    if (!downEach) return;
    for (const tile of this.#flashing) {
      if (tile.flashUntil > now) continue;
      this.#flashing.delete(tile);
      this.#changed.add(tile);
    }
    const top = this.#board.scrollTop;
    const first = Math.floor(top / downEach) * this.#columns;
    const end = Math.ceil((top + this.#board.clientHeight) / downEach) * this.#columns;
    if (!this.#isWhole) {
      this.#pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
      for (const tile of this.#tiles.slice(first, end)) this.#changed.add(tile);
    }
    this.#isWhole = true;
    for (const tile of this.#changed) {
      if (tile.place >= first && tile.place < end && tile.data) this.#drawTile(tile, now, top);
    }
    this.#changed.clear();
  }

  #drawTile(tile, now, top) {
    const { width, height, acrossEach, downEach } = this.#size;
    const pen = this.#pen;
    const left = (tile.place % this.#columns) * acrossEach;
    const above = Math.floor(tile.place / this.#columns) * downEach - top;
    pen.clearRect(left, above, width, height);
    if (tile.flashUntil > now && !stillness.matches) {
      this.#flashing.add(tile);
      pen.fillStyle = this.#colours[`${tile.move}-faint`];
      pen.beginPath();
      pen.roundRect(left + 1, above + 1, width - 2, height - 2, ROUNDING);
      pen.fill();
    }
    const { price, change } = tile.data;
    const trend = change < 0 ? "down" : "up";
    pen.font = this.#fonts[1];
    pen.textAlign = "right";
    pen.fillStyle = this.#colours[trend];
    pen.fillText(`${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)} %`, left + width - PADDING, above + TEXT_LINE);
    pen.font = this.#fonts[0];
    pen.textAlign = "left";
    pen.fillStyle = this.#colours.ink;
    pen.fillText(price.toFixed(2), left + PADDING, above + 2 * TEXT_LINE);
    pen.strokeStyle = this.#colours[`${trend}-line`];
    this.#drawLine(tile.prices, left + PADDING, above + height - 6, width - 2 * PADDING);
  }

  #drawLine(prices, left, bottom, width) {
    const low = Math.min(...prices);
    const scale = LINE_HEIGHT / (Math.max(...prices) - low || 1);
    const step = width / (PRICES_KEPT - 1);
    const from = left + (PRICES_KEPT - prices.length) * step;
    this.#pen.beginPath();
    for (const [index, price] of prices.entries()) {
      this.#pen.lineTo(from + index * step, bottom - (price - low) * scale);
    }
    this.#pen.stroke();
  }
}

/** Marks that a tile's price went up or down just now. */
export function flash(tile, move) {
  tile.move = move;
  tile.flashUntil = performance.now() + FLASH_MS;
}
