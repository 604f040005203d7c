// Draw or drop, share, ask, add, show.
import { PrivateClassifier, getJson } from "./client.js";

const PAUSE_MS = 350; // after the last stroke
const SHOWN_LOGITS = 10;
const byId = (id) => document.getElementById(id);
const drawing = byId("drawing");
const pen = drawing.getContext("2d", { willReadFrequently: true });
let classifier = null;
let timer = 0;
let asked = 0;

async function start() {
  const { models } = await getJson("/v1/models");
  const choice = byId("model");
  for (const name of models) choice.add(new Option(name, name));
  byId("model-choice").hidden = models.length < 2;
  choice.addEventListener("change", () => report(() => choose(choice.value)));
  await choose(models[0]);
}

async function choose(model) {
  const { servers } = await getJson(`/v1/models/${encodeURIComponent(model)}`);
  if (servers.length !== 2) throw new Error("this server was not told both servers' addresses (--servers)");
  classifier = await PrivateClassifier.connect(servers, model);
  servers.forEach((url, party) => (byId(`address-${party}`).textContent = url));
  clear();
}

async function report(work) {
  try {
    await work();
  } catch (fault) {
    byId("result").className = "fault";
    byId("result").textContent = `No answer: ${fault.message}.`;
    byId("logits").replaceChildren();
  }
}

function clear() {
  clearTimeout(timer);
  asked++;
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, drawing.width, drawing.height);
  byId("result").className = "";
  byId("result").textContent = "Nothing drawn yet.";
  byId("logits").replaceChildren();
}

// The drawn strokes, cut out, centred and as large as the model's images have them.
function drawnPixels() {
  const { data, width, height } = pen.getImageData(0, 0, drawing.width, drawing.height);
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[4 * (y * width + x)] < 64) continue;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    }
  }
  if (right < 0) return null;
  const side = Math.max(right - left, bottom - top) + 1;
  const [middleX, middleY] = [(left + right) / 2, (top + bottom) / 2];
  const [, rows, columns] = classifier.description.input.shape;
  // first half as large and then back: strokes as soft as in the pictures that such models learn from
  const coarse = scaled(drawing, middleX - side / 2, middleY - side / 2, side, columns / 2, rows / 2);
  return channels(scaled(coarse, 0, 0, coarse.width, columns, rows));
}

function scaled(source, x, y, side, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.ceil(width), height: Math.ceil(height) });
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  brush.imageSmoothingQuality = "high";
  brush.fillRect(0, 0, canvas.width, canvas.height);
  brush.drawImage(source, x, y, side, side, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// Pixels channel by channel, in the order of the model's colours.
function channels(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const color = classifier.description.images?.color ?? "gray";
  const pixels = [];
  const places = { gray: [null], rgb: [0, 1, 2], bgr: [2, 1, 0] }[color];
  for (const place of places) {
    for (let at = 0; at < data.length; at += 4) {
      const gray = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
      pixels.push(place === null ? Math.round(gray) : data[at + place]);
    }
  }
  return Uint8ClampedArray.from(pixels);
}

async function ask(pixels) {
  if (pixels === null) return;
  const mine = ++asked;
  byId("result").className = "";
  byId("result").textContent = "Asking both servers …";
  const began = performance.now();
  const answer = await classifier.classify(pixels);
  if (mine === asked) show(answer, performance.now() - began);
}

function show(answer, milliseconds) {
  const result = byId("result");
  const found = Object.assign(document.createElement("strong"), { textContent: answer.name });
  result.replaceChildren(found, document.createElement("br"), `found in ${Math.round(milliseconds)} ms`);
  const order = answer.logits.map((logit, index) => ({ logit, index })).sort((one, two) => two.logit - one.logit);
  const [most, least] = [order[0].logit, order[order.length - 1].logit];
  byId("logits").replaceChildren(...order.slice(0, SHOWN_LOGITS).map((each) => logitRow(each, least, most)));
  for (const party of [0, 1]) {
    showNoise(byId(`share-${party}`), answer.sent[party]);
    byId(`learnt-${party}`).textContent = `${Array.from(answer.received[party].slice(0, 3)).join(", ")}, …`;
  }
}

function logitRow({ logit, index }, least, most) {
  const name = classifier.description.images?.classes[index] ?? String(index);
  const bar = Object.assign(document.createElement("meter"), { min: least, max: most, value: logit });
  bar.setAttribute("aria-label", `logit of ${name}`);
  const row = document.createElement("li");
  const text = (content) => Object.assign(document.createElement("span"), { textContent: content });
  row.append(text(name), bar, text(logit.toFixed(1)));
  return row;
}

// The upper eight bits of every word of the first channel.
function showNoise(canvas, share) {
  const [, rows, columns] = classifier.description.input.shape;
  Object.assign(canvas, { width: columns, height: rows });
  const brush = canvas.getContext("2d");
  const image = brush.createImageData(columns, rows);
  for (let at = 0; at < rows * columns; at++) {
    const level = share[at] >>> 24;
    image.data.set([level, level, level, 255], 4 * at);
  }
  brush.putImageData(image, 0, 0);
}

function place(event) {
  const box = drawing.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * drawing.width, ((event.clientY - box.top) / box.height) * drawing.height];
}

drawing.addEventListener("pointerdown", (event) => {
  clearTimeout(timer);
  drawing.setPointerCapture(event.pointerId);
  pen.strokeStyle = "#fff";
  Object.assign(pen, { lineWidth: 26, lineCap: "round", lineJoin: "round" });
  pen.beginPath();
  pen.moveTo(...place(event));
  pen.lineTo(...place(event));
  pen.stroke();
});
drawing.addEventListener("pointermove", (event) => {
  if (!drawing.hasPointerCapture(event.pointerId)) return;
  pen.lineTo(...place(event));
  pen.stroke();
});
drawing.addEventListener("pointerup", () => {
  timer = setTimeout(() => report(() => ask(drawnPixels())), PAUSE_MS);
});

async function askPicture(file) {
  const picture = await createImageBitmap(file);
  const side = Math.min(picture.width, picture.height);
  const [x, y] = [(picture.width - side) / 2, (picture.height - side) / 2];
  clear();
  pen.drawImage(picture, x, y, side, side, 0, 0, drawing.width, drawing.height);
  const [, rows, columns] = classifier.description.input.shape;
  await ask(channels(scaled(picture, x, y, side, columns, rows)));
}

byId("clear").addEventListener("click", clear);
byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) report(() => askPicture(file));
  event.target.value = "";
});
drawing.addEventListener("dragover", (event) => {
  event.preventDefault();
  drawing.classList.add("over");
});
drawing.addEventListener("dragleave", () => drawing.classList.remove("over"));
drawing.addEventListener("drop", (event) => {
  event.preventDefault();
  drawing.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) report(() => askPicture(file));
});

report(start);
