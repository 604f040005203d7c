// A client of two private inference servers, without dependencies. Each server gets a share of an image that is
// uniformly random by itself, and answers a share of the logits.
//
//     const classifier = await PrivateClassifier.connect(["https://zero.example", "https://one.example"], "digits");
//     const answer = await classifier.classify(pixels);      // Uint8ClampedArray, channel by channel, 0..255

const MEDIA_TYPE = "application/octet-stream";
const EXECUTION_HEADER = "rrnet-execution";
// Answers after which asking again, under a fresh id and with fresh shares, may succeed.
const PASSING = new Set([408, 409, 429, 500, 502, 503, 504]);
const RANDOM_BYTES = 65536; // what crypto.getRandomValues gives at once

export class ServiceFault extends Error {
  constructor(sentence, passing = false, retrySeconds = 0) {
    super(sentence);
    this.passing = passing;
    this.retrySeconds = retrySeconds;
  }
}

export class PrivateClassifier {
  // `urls`: party 0's and party 1's server. `model`: its name at both.
  static async connect(urls, model) {
    const descriptions = await Promise.all(urls.map((url) => getJson(`${url}/v1/models/${encodeURIComponent(model)}`)));
    descriptions.forEach((said, party) => {
      if (said.party !== party) throw new ServiceFault(`${urls[party]} is not the server of party ${party}`);
    });
    for (const key of ["program", "protocol", "input", "output"]) {
      if (JSON.stringify(descriptions[0][key]) !== JSON.stringify(descriptions[1][key])) {
        throw new ServiceFault(`the two servers differ in the model's ${key}`);
      }
    }
    return new PrivateClassifier(urls, model, descriptions[0]);
  }

  constructor(urls, model, description) {
    this.urls = urls;
    this.model = model;
    this.description = description;
  }

  // Words of an image of pixels 0..255, channel by channel, as the model expects them.
  encode(pixels) {
    const { shape, fraction_bits: bits, word_bits: wordBits } = this.description.input;
    const size = shape.reduce((product, each) => product * each, 1);
    const known = this.description.images;
    if (pixels.length !== size) throw new ServiceFault(`an image has ${size} numbers, not ${pixels.length}`);
    if (known === null) throw new ServiceFault("this model does not say what it makes of pixels");
    const perChannel = size / shape[0];
    const values = withinContrast(Float64Array.from(pixels, (pixel) => pixel / known.scale), known.contrast_bound);
    return Uint32Array.from(values, (value, index) => {
      const channel = Math.floor(index / perChannel);
      const word = Math.round(((value - known.mean[channel]) / known.std[channel]) * 2 ** bits);
      if (!(Math.abs(word) < 2 ** wordBits)) throw new ServiceFault("the image has values beyond the model's limit");
      return word >>> 0;
    });
  }

  // { index, name, logits, sent: [share, share], received: [share, share] } of one image; shares are Uint32Arrays.
  async classify(pixels, attempts = 5) {
    const words = this.encode(pixels);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#ask(words);
      } catch (fault) {
        if (!(fault instanceof ServiceFault) || !fault.passing || attempt === attempts) throw fault;
        await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(fault.retrySeconds, 0.1 * 2 ** attempt)));
      }
    }
  }

  async #ask(words) {
    const first = randomWords(words.length);
    const sent = [first, words.map((word, index) => (word - first[index]) >>> 0)];
    const id = [...randomWords(4)].map((word) => word.toString(16).padStart(8, "0")).join("");
    const giveUp = new AbortController();
    const replies = sent.map((share, party) => this.#send(party, id, share, giveUp.signal));
    let answers;
    try {
      answers = await Promise.all(replies);
    } catch (fault) {
      giveUp.abort(); // the other server would wait for a half that never comes
      await Promise.allSettled(replies);
      throw fault;
    }
    if (answers[0].execution !== answers[1].execution) {
      throw new ServiceFault("the two servers answered from different executions", true);
    }
    const { fraction_bits: bits, scale } = this.description.output;
    const received = answers.map((answer) => answer.share);
    const logits = Array.from(received[0], (word, index) => {
      return ((word + received[1][index]) | 0) / 2 ** bits / (scale[index] ?? scale[0]);
    });
    const index = logits.indexOf(Math.max(...logits));
    return { index, name: this.description.images?.classes[index] ?? String(index), logits, sent, received };
  }

  async #send(party, id, share, signal) {
    const url = this.urls[party];
    const options = { method: "POST", headers: { "content-type": MEDIA_TYPE }, body: littleEndian(share), signal };
    let reply;
    try {
      const path = `/v1/models/${encodeURIComponent(this.model)}/requests/${id}?program=${this.description.program}`;
      reply = await fetch(url + path, options);
    } catch {
      throw new ServiceFault(`${url} does not answer`, true);
    }
    if (!reply.ok) {
      const said = await reply.json().catch(() => ({}));
      const retry = Number(reply.headers.get("retry-after")) || 0;
      throw new ServiceFault(`${url}: ${said.error ?? `status ${reply.status}`}`, PASSING.has(reply.status), retry);
    }
    const view = new DataView(await reply.arrayBuffer());
    const words = Uint32Array.from({ length: view.byteLength / 4 }, (_, index) => view.getUint32(4 * index, true));
    const expected = this.description.output.shape.reduce((product, each) => product * each, 1);
    if (words.length !== expected) throw new ServiceFault(`${url} answered a share of another size`);
    return { share: words, execution: reply.headers.get(EXECUTION_HEADER) };
  }
}

export async function getJson(url) {
  let reply;
  try {
    reply = await fetch(url);
  } catch {
    throw new ServiceFault(`${url} does not answer`, true);
  }
  if (!reply.ok) throw new ServiceFault(`${url}: status ${reply.status}`);
  return reply.json();
}

// Values of one image; where their contrast is above `bound`, they are brought to it around their mean.
function withinContrast(values, bound) {
  if (!bound) return values;
  const average = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const middle = average(values);
  const apart = values.map((value) => value - middle);
  const peak = apart.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const contrast = Math.max(Math.sqrt(average(apart.map((value) => value ** 2))), 0.4 * peak);
  return apart.map((value) => middle + value * (bound / Math.max(contrast, bound)));
}

function randomWords(count) {
  const words = new Uint32Array(count);
  for (let start = 0; start < count; start += RANDOM_BYTES / 4) {
    crypto.getRandomValues(words.subarray(start, start + RANDOM_BYTES / 4));
  }
  return words;
}

function littleEndian(words) {
  const view = new DataView(new ArrayBuffer(4 * words.length));
  words.forEach((word, index) => view.setUint32(4 * index, word, true));
  return view.buffer;
}
