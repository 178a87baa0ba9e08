// A square that the visitor lays around a face: dragged, or moved by arrow keys, sized by + and -, taken by Enter.

const KEYS = /** @type {Record<string, number[]>} */ ({
  ...{ ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0] },
  ...{ "+": [-0.5, -0.5, 1], "-": [0.5, 0.5, -1] }, // what they add to left, top and side, in steps
});
const SMALLEST = 8; // pixels

/**
 * @param {HTMLCanvasElement} canvas
 * @param {(box: number[]) => void} show is called while the square changes
 * @param {(box: number[]) => void} take is called with the square that was chosen
 */
export function chooseSquare(canvas, show, take) {
  const step = Math.min(canvas.width, canvas.height) / 20;
  let [x, y, side] = [canvas.width / 2 - 5 * step, canvas.height / 2 - 5 * step, 10 * step];
  const at = (/** @type {PointerEvent} */ event) => {
    const frame = canvas.getBoundingClientRect();
    const scale = canvas.width / frame.width;
    return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    const [left, top] = at(event);
    canvas.onpointermove = (moved) => {
      const [dx, dy] = at(moved).map((place, axis) => place - [left, top][axis]);
      side = Math.max(Math.abs(dx), Math.abs(dy));
      [x, y] = [dx < 0 ? left - side : left, dy < 0 ? top - side : top];
      show([x, y, side, side]);
    };
  };
  canvas.onpointerup = () => {
    if (canvas.onpointermove && side >= SMALLEST) take([x, y, side, side]);
    canvas.onpointermove = null;
  };
  canvas.onkeydown = (event) => {
    if (event.key === "Enter") take([x, y, side, side]);
    if (!(event.key in KEYS)) return;
    event.preventDefault(); // to scroll
    const moves = KEYS[event.key].map((part) => part * step);
    if (side + moves[2] >= SMALLEST) [x, y, side] = [x + moves[0], y + moves[1], side + moves[2]];
    show([x, y, side, side]);
  };
}
