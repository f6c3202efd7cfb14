// The result, and its curves: one canvas per track over a common time axis.

function unpack(text, Kind) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Kind(bytes.buffer);
}

const data = JSON.parse(document.getElementById("data").textContent);
const starts = unpack(data.frame_start_s, Float64Array), ends = unpack(data.frame_end_s, Float64Array);
const analysed = unpack(data.analysed, Int32Array), analysedEnds = unpack(data.analysed_end_s, Float64Array);
const tracks = data.tracks.map(track => ({
  id: track.id, title: track.title, frame: unpack(track.frame, Int32Array),
  start: unpack(track.start_s, Float64Array), end: unpack(track.end_s, Float64Array),
  box: unpack(track.box_px, Float32Array), p: unpack(track.p, Float32Array),
  usable: unpack(track.usable, Uint8Array), stops: new Set(track.run_stops),
  unusable: unpack(track.unusable_s, Float64Array), absent: unpack(track.absent_s, Float64Array),
  shown: true,
}));
const nLabels = data.labels.length, drawn = data.labels.map(() => true);
const nFrames = starts.length, endTime = ends[nFrames - 1];
const MARGIN = {left: 30, right: 8, top: 6, bottom: 18};
const view = {from: 0, to: endTime};

// Index of the last value that is at most x, or -1.
function lastUpTo(values, x) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= x) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function clock(seconds, digits = 2) {
  const units = Math.round(seconds * 10 ** digits), per = 10 ** digits;
  const whole = Math.floor(units / per), fraction = String(units % per).padStart(digits, "0");
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  const two = number => String(number).padStart(2, "0");
  return (h ? `${h}:${two(m)}` : m) + ":" + two(s) + (digits ? "." + fraction : "");
}

function element(tag, parent, text = "", settings = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(settings)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

// The row of a track that stands for a frame, or -1. Between two analysed frames, the first
// one's rows hold; before the first and after the last, none do.
function rowOf(track, frame) {
  const at = lastUpTo(analysed, frame);
  if (at < 0 || (analysed[at] !== frame && starts[frame] >= analysedEnds[at])) return -1;
  const row = lastUpTo(track.frame, analysed[at]);
  return row >= 0 && track.frame[row] === analysed[at] ? row : -1;
}

function topLabel(track, row) {
  let top = 0;
  for (let k = 1; k < nLabels; k++) if (track.p[row * nLabels + k] > track.p[row * nLabels + top]) top = k;
  return top;
}

function describe(track, row) {
  if (row < 0) return "not seen";
  const order = data.labels.map((_, k) => k).sort((a, b) => track.p[row * nLabels + b] - track.p[row * nLabels + a]);
  const text = order.slice(0, 3).map(k => `${data.labels[k]} ${(100 * track.p[row * nLabels + k]).toFixed(0)} %`);
  return text.join(", ") + (track.usable[row] ? "" : " (not usable)");
}

function hatching(context, scale) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 7 * scale;
  const pen = tile.getContext("2d");
  pen.scale(scale, scale);
  pen.strokeStyle = data.unusable_colour;
  pen.beginPath();
  for (const x of [-7, 0, 7]) { pen.moveTo(x, 7); pen.lineTo(x + 7, 0); }
  pen.stroke();
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / scale));
  return pattern;
}

class Curves {
  constructor(track, parent, go) {
    this.track = track;
    this.time = 0; // of the cursor
    this.inner = 1; // width between the margins
    this.box = element("div", parent);
    if (track) element("h3", this.box, track.title);
    this.now = element("p", this.box, "", {class: "now"});
    this.chart = element("div", this.box, "", {class: "chart"});
    const name = track ? `Probabilities of ${track.title}` : "No face was found";
    this.canvas = element("canvas", this.chart, "", {role: "img", "aria-label": name});
    this.cursor = element("div", this.chart, "", {class: "cursor"});
    const jump = event => {
      const x = event.clientX - this.chart.getBoundingClientRect().left;
      go(this.timeAt(x));
    };
    this.chart.addEventListener("pointerdown", event => {
      if (event.button) return;
      this.chart.setPointerCapture(event.pointerId);
      jump(event);
    });
    this.chart.addEventListener("pointermove", event => {
      if (event.buttons & 1 && this.chart.hasPointerCapture(event.pointerId)) jump(event);
    });
    new ResizeObserver(() => { this.draw(); this.moveCursor(this.time); }).observe(this.chart);
  }

  xAt(time) { return MARGIN.left + (time - view.from) / (view.to - view.from) * this.inner; }
  timeAt(x) { return view.from + (x - MARGIN.left) / this.inner * (view.to - view.from); }

  moveCursor(time) {
    this.time = time;
    const x = this.xAt(time);
    this.cursor.hidden = x < MARGIN.left - 1 || x > MARGIN.left + this.inner + 1;
    this.cursor.style.transform = `translateX(${x}px)`;
  }

  draw() {
    const width = this.chart.clientWidth, height = this.chart.clientHeight;
    if (!width || !height) return;
    this.inner = Math.max(width - MARGIN.left - MARGIN.right, 1);
    const scale = window.devicePixelRatio || 1, context = this.canvas.getContext("2d");
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    context.scale(scale, scale);
    const bottom = height - MARGIN.bottom, y = p => bottom - p * (bottom - MARGIN.top);
    this.axes(context, y);
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, MARGIN.top - 2, this.inner, bottom - MARGIN.top + 4);
    context.clip();
    const fill = (spans, style) => {
      context.fillStyle = style;
      let filled = 0; // up to here: what is shorter than a pixel is not filled twice
      for (let i = 0; i < spans.length; i += 2) {
        const x = Math.max(this.xAt(spans[i]), filled);
        const end = Math.max(this.xAt(spans[i + 1]), this.xAt(spans[i]) + 1);
        if (end <= filled || x > width) continue;
        context.fillRect(x, MARGIN.top, end - x, bottom - MARGIN.top);
        filled = end;
      }
    };
    const track = this.track;
    fill(track ? track.absent : [0, endTime], data.absent_colour);
    if (track) {
      for (let k = 0; k < nLabels; k++) if (drawn[k]) this.line(context, k, y);
      fill(track.unusable, "rgba(255, 255, 255, 0.6)");
      fill(track.unusable, hatching(context, scale));
    }
    context.restore();
  }

  axes(context, y) {
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const p of [0, 0.5, 1]) {
      context.fillStyle = "#444";
      context.fillText(p, MARGIN.left - 5, y(p));
      context.fillStyle = "#ccc";
      context.fillRect(MARGIN.left, Math.round(y(p)), this.inner, 1);
    }
    const length = view.to - view.from, most = Math.max(this.inner / 70, 2);
    const steps = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 36000];
    const step = steps.find(s => length / s <= most) || steps[steps.length - 1];
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillStyle = "#444";
    for (let i = Math.ceil(view.from / step - 1e-9); i * step <= view.to + 1e-9; i++) {
      const x = Math.min(Math.max(this.xAt(i * step), MARGIN.left + 10), MARGIN.left + this.inner - 12);
      context.fillRect(this.xAt(i * step) - 0.5, y(0), 1, 4);
      context.fillText(clock(i * step, step < 0.1 ? 2 : step < 1 ? 1 : 0), x, y(0) + 5);
    }
  }

  // One label as steps; where several frames share a pixel, from their lowest to their highest.
  line(context, k, y) {
    const {track} = this, path = new Path2D(), value = row => y(track.p[row * nLabels + k]);
    const first = Math.max(lastUpTo(track.end, view.from), 0);
    const last = lastUpTo(track.start, view.to);
    let begins = true, column = null;
    for (let row = first; row <= last; row++) {
      const x = this.xAt(track.start[row]), end = this.xAt(track.end[row]), at = value(row);
      if (begins) path.moveTo(x, at);
      const pixel = Math.floor(x);
      if (!begins && end - x < 0.5 && column === pixel) {
        if (at < this.low) { path.lineTo(x, at); this.low = at; }
        if (at > this.high) { path.lineTo(x, at); this.high = at; }
      } else {
        path.lineTo(x, at);
        path.lineTo(end, at);
        column = pixel;
        this.low = this.high = at;
      }
      begins = track.stops.has(row + 1);
      if (begins) { path.lineTo(end, at); column = null; }
    }
    context.lineJoin = "round";
    if (data.casings[k]) {
      context.strokeStyle = data.casings[k];
      context.lineWidth = 3;
      context.stroke(path);
    }
    context.strokeStyle = data.colours[k];
    context.lineWidth = 1.7;
    context.stroke(path);
  }
}
