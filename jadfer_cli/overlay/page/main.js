// Connects the video, the curves, the boxes and the list.

const at = id => document.getElementById(id);
const video = at("video"), boxes = at("boxes");

at("subtitle").textContent = data.subtitle;
at("version").textContent = data.version;
at("seek").max = nFrames - 1;

const player = new Player(video, show);
const goTo = time => player.go(Math.max(lastUpTo(starts, time), 0));
const charts = (tracks.length ? tracks : [null]).map(track => new Curves(track, at("charts"), goTo));
if (tracks.length <= 2) at("charts").className = "few";
if (!tracks.length) element("p", at("charts"), "No face was found in this video.");

function show(frame) {
  const time = starts[frame], from = lastUpTo(analysed, frame);
  at("seek").value = frame;
  at("seek").setAttribute("aria-valuetext", `frame ${frame} of ${nFrames}, ${clock(time)}`);
  const covered = from >= 0 && (analysed[from] === frame || time < analysedEnds[from]);
  const note = !covered ? ", not analysed" : analysed[from] === frame ? "" : `, scores of frame ${analysed[from]}`;
  at("where").textContent = `Frame ${frame} (0 to ${nFrames - 1}), ${clock(time, 3)}${note}`;
  keepInView(time);
  for (const chart of charts) {
    chart.moveCursor(time);
    if (chart.track) chart.now.textContent = describe(chart.track, rowOf(chart.track, frame));
  }
  drawBoxes(frame);
}

function drawBoxes(frame) {
  const width = video.clientWidth, height = video.clientHeight, scale = window.devicePixelRatio || 1;
  boxes.width = Math.round(width * scale);
  boxes.height = Math.round(height * scale);
  if (!at("show-boxes").checked || !width) return;
  const context = boxes.getContext("2d");
  context.scale(scale, scale);
  const sx = width / data.shown_width_px, sy = height / data.shown_height_px;
  context.font = "bold 13px system-ui, sans-serif";
  for (const track of tracks) {
    const row = rowOf(track, frame);
    if (row < 0 || !track.shown) continue;
    const [x1, y1, x2, y2] = track.box.subarray(4 * row, 4 * row + 4);
    const top = topLabel(track, row), usable = track.usable[row];
    const place = [x1 * sx, y1 * sy, (x2 - x1) * sx, (y2 - y1) * sy].map(Math.round); // whole pixels are sharp
    context.setLineDash(usable ? [] : [6, 4]);
    context.strokeStyle = "#000";
    context.lineWidth = 4;
    context.strokeRect(...place);
    context.strokeStyle = usable ? data.colours[top] : data.unusable_colour;
    context.lineWidth = 2;
    context.strokeRect(...place);
    const p = (100 * track.p[row * nLabels + top]).toFixed(0);
    const text = `${track.id} ${usable ? `${data.labels[top]} ${p} %` : "not usable"}`;
    const wide = context.measureText(text).width + 8;
    const x = Math.min(Math.max(place[0], 0), Math.max(width - wide, 0));
    const above = place[1] - 19, below = place[1] + place[3] + 2;
    const y = above >= 0 ? above : below <= height - 18 ? below : 0;
    context.fillStyle = "rgba(0, 0, 0, 0.75)";
    context.fillRect(x, y, wide, 18);
    context.fillStyle = "#fff";
    context.fillText(text, x + 4, y + 13);
  }
}

function redraw() {
  for (const chart of charts) { chart.draw(); chart.moveCursor(starts[player.frame]); }
}

function setView(from, to) {
  const length = Math.min(Math.max(to - from, Math.min(0.2, endTime)), endTime);
  view.from = Math.min(Math.max(from, 0), endTime - length);
  view.to = view.from + length;
  redraw();
}

function zoom(factor) {
  const time = starts[player.frame], length = (view.to - view.from) * factor;
  const share = (time - view.from) / (view.to - view.from);
  setView(time - share * length, time + (1 - share) * length);
}

function keepInView(time) {
  const length = view.to - view.from;
  if (time < view.from || time > view.to) setView(time - 0.1 * length, time + 0.9 * length);
}

// What to draw.
data.labels.forEach((label, k) => {
  const button = element("button", at("labels"), "", {type: "button", "aria-pressed": "true"});
  element("i", button).style.background = data.colours[k];
  button.append(label);
  button.onclick = () => {
    drawn[k] = !drawn[k];
    button.setAttribute("aria-pressed", drawn[k]);
    redraw();
  };
});
for (const chart of charts) {
  if (!chart.track) continue;
  const label = element("label", at("tracks"));
  const box = element("input", label, "", {type: "checkbox"});
  box.checked = true;
  label.append(` Track ${chart.track.id}`);
  box.onchange = () => {
    chart.track.shown = box.checked;
    chart.box.hidden = !box.checked;
    drawBoxes(player.frame);
  };
}

// What to look at.
for (const kind of data.moments) {
  const details = element("details", at("moments"));
  details.open = kind === data.moments[0] || kind.n_moments <= 12;
  element("summary", details, `${kind.title} (${kind.n_moments})`);
  const list = element("ul", details);
  for (const moment of kind.moments) {
    const until = moment.end_s > moment.start_s ? `–${clock(moment.end_s)}` : "";
    const item = element("li", list);
    element("a", item, `${clock(moment.start_s)}${until}`, {href: `#frame=${moment.frame}`}).onclick = event => {
      event.preventDefault(); // a second click on the same link must work, too
      history.replaceState(null, "", `#frame=${moment.frame}`);
      followLink();
    };
    item.append(` ${moment.text}`);
  }
  if (kind.n_moments > kind.moments.length) element("p", details, `The first ${kind.moments.length} are listed.`);
}
if (!data.moments.length) element("p", at("moments"), "Nothing doubtful was found.");

function followLink() {
  const found = /^#frame=(\d+)$/.exec(location.hash);
  if (!found) return;
  video.pause();
  player.go(Number(found[1]));
}

// Controls and keys.
at("play").onclick = () => player.toggle();
at("back").onclick = () => player.step(-1);
at("next").onclick = () => player.step(1);
at("seek").oninput = () => player.go(Number(at("seek").value));
at("speed").onchange = () => { video.playbackRate = Number(at("speed").value); };
at("mute").onchange = () => { video.muted = at("mute").checked; };
at("show-boxes").onchange = () => drawBoxes(player.frame);
at("zoom-in").onclick = () => zoom(1 / 2);
at("zoom-out").onclick = () => zoom(2);
at("zoom-all").onclick = () => setView(0, endTime);
video.onclick = () => player.toggle();
for (const name of ["play", "pause", "ended"]) {
  video.addEventListener(name, () => {
    at("play").textContent = video.paused ? "Play" : "Pause";
    at("where").setAttribute("aria-live", video.paused ? "polite" : "off");
  });
}

const KEYS = {
  ArrowLeft: event => player.step(event.shiftKey ? -10 : -1),
  ArrowRight: event => player.step(event.shiftKey ? 10 : 1),
  Home: () => player.step(-nFrames), End: () => player.step(nFrames),
  " ": () => player.toggle(),
  "+": () => zoom(1 / 2), "=": () => zoom(1 / 2), "-": () => zoom(2), "0": () => setView(0, endTime),
};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in KEYS)) return;
  const own = event.target.closest("button, select, a, summary, input");
  if (own && own.tagName === "SELECT") return;
  if (own && event.key === " " && own.id !== "seek") return; // it presses the button or ticks the box
  event.preventDefault();
  KEYS[event.key](event);
});
window.addEventListener("hashchange", followLink);

// The video. In memory it is a blob: not every browser plays or seeks in a data: URL.
function fail() {
  at("problem").hidden = false;
  at("problem").textContent = data.video === null
    ? "This browser does not play the video inside this page. Make the page again with --convert."
    : "The video cannot be played. If the page or the video was moved, put both where they were. "
      + "If this browser does not play the format, make the page again with --convert.";
}
video.addEventListener("error", fail);
video.addEventListener("loadedmetadata", () => {
  if (video.videoHeight) at("stage").style.setProperty("--aspect", video.videoWidth / video.videoHeight);
});
new ResizeObserver(() => drawBoxes(player.frame)).observe(video);
if (data.video === null) {
  const text = at("movie").textContent, parts = [], size = 1 << 20;
  for (let i = 0; i < text.length; i += size) parts.push(unpack(text.slice(i, i + size), Uint8Array));
  video.src = URL.createObjectURL(new Blob(parts, {type: data.media_type}));
  at("movie").remove();
} else {
  video.src = data.video;
}
show(0);
followLink();
