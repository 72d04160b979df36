"use strict";
// Balls and sticks on a canvas. Drag or the arrow keys turn a scene, + and - bring it nearer or away,
// 0 brings the first view back.

const NEAR = 4; // distance of the eye, in radii of the scene
const STEP = Math.PI / 24; // turn of one key

function scene(canvas) {
  const [points, radii, colours, links] = JSON.parse(canvas.dataset.scene);
  const middle = [0, 1, 2].map(k => points.reduce((sum, p) => sum + p[k], 0) / points.length);
  const placed = points.map(p => p.map((v, k) => v - middle[k]));
  const reach = Math.max(...placed.map((p, i) => Math.hypot(...p) + radii[i]), 1e-6);
  const first = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  let turn = first;
  let zoom = 1;

  function turned(right, down) {
    const [a, b, c, d] = [Math.cos(right), Math.sin(right), Math.cos(down), Math.sin(down)];
    const by = [[a, 0, b], [b * d, c, -a * d], [-b * c, d, a * c]];
    turn = by.map(row => [0, 1, 2].map(k => row.reduce((sum, v, m) => sum + v * turn[m][k], 0)));
    draw();
  }

  function seen() {
    const side = Math.min(canvas.width, canvas.height);
    const scale = (0.58 * side * zoom * (NEAR - 1)) / reach;
    return placed.map((p, i) => {
      const [x, y, z] = turn.map(row => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
      const size = scale / (NEAR - z / reach);
      return {
        x: canvas.width / 2 + x * size, y: canvas.height / 2 - y * size, z, r: radii[i] * size,
        size, colour: colours[i],
      };
    });
  }

  function ball(pen, p) {
    const light = pen.createRadialGradient(p.x - p.r / 3, p.y - p.r / 3, p.r / 10, p.x, p.y, p.r);
    light.addColorStop(0, "#ffffff");
    light.addColorStop(0.35, p.colour);
    light.addColorStop(1, p.colour);
    pen.beginPath();
    pen.arc(p.x, p.y, p.r, 0, 2 * Math.PI);
    pen.fillStyle = light;
    pen.fill();
    pen.lineWidth = Math.max(1, p.r / 14);
    pen.strokeStyle = "rgba(0, 0, 0, 0.45)";
    pen.stroke();
  }

  function stick(pen, a, b, strands) {
    const far = Math.hypot(b.x - a.x, b.y - a.y) || 1;
    const across = [(a.y - b.y) / far, (b.x - a.x) / far];
    const wide = (0.32 * (a.size + b.size)) / 2;
    const width = strands > 1 ? wide / (strands + 1.5) : wide / 2.4;
    const centre = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    for (let k = 0; k < strands; k++) {
      const shift = ((k - (strands - 1) / 2) * wide) / Math.max(strands - 0.5, 1);
      const [dx, dy] = across.map(v => v * shift);
      for (const end of [a, b]) {
        pen.beginPath();
        pen.moveTo(end.x + dx, end.y + dy);
        pen.lineTo(centre.x + dx, centre.y + dy);
        pen.lineWidth = width;
        pen.strokeStyle = end.colour;
        pen.stroke();
      }
    }
  }

  function draw() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(v => Math.round(v * ratio));
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    const at = seen();
    const shapes = [
      ...at.map(p => ({ z: p.z, show: () => ball(pen, p) })),
      ...links.map(([i, j, n]) => ({
        z: Math.min(at[i].z, at[j].z) + Math.abs(at[i].z - at[j].z) / 4,
        show: () => stick(pen, at[i], at[j], n),
      })),
    ];
    for (const shape of shapes.sort((a, b) => a.z - b.z)) shape.show();
  }

  const KEYS = {
    ArrowLeft: () => turned(-STEP, 0), ArrowRight: () => turned(STEP, 0),
    ArrowUp: () => turned(0, -STEP), ArrowDown: () => turned(0, STEP),
    "+": () => nearer(1.2), "-": () => nearer(1 / 1.2),
    "0": () => { turn = first; zoom = 1; draw(); },
  };

  function nearer(by) {
    zoom = Math.min(Math.max(zoom * by, 0.3), 6);
    draw();
  }

  canvas.addEventListener("keydown", event => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  canvas.addEventListener("pointerdown", event => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", event => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    const side = Math.min(canvas.clientWidth, canvas.clientHeight);
    turned((2 * Math.PI * event.movementX) / side / 1.6, (2 * Math.PI * event.movementY) / side / 1.6);
  });
  new ResizeObserver(draw).observe(canvas);
  turned(0.5, 0.3);
}

document.querySelectorAll("canvas[data-scene]").forEach(scene);
