"use strict";
/* Shows what hdrcli/webview.py wrote: decodes log2-coded pictures when they come into view, exposes them on plain canvases. */
const hdrView = (() => {
  const LUMINANCE = [0.2126, 0.7152, 0.0722]; // BT.709
  const FAR = "800px 0px"; // how far outside of the window pictures are made ready
  // [place, colour]: those of the heat maps that hdrcli/evaluation/maps.py writes, and a spectrum.
  const DIVERGING = [[0, "#09145c"], [0.2, "#2561c4"], [0.4, "#9ecaf0"], [0.5, "#f7f7f7"],
    [0.6, "#fddb84"], [0.8, "#e35226"], [1, "#600016"]];
  const RISING = [[0, "#080818"], [0.25, "#48146e"], [0.5, "#be2c50"], [0.75, "#fa9428"], [1, "#fcfdd2"]];
  const SPECTRUM = [[0, "#14104a"], [0.1, "#2a3fb0"], [0.2, "#1f7fc4"], [0.3, "#17a398"], [0.4, "#4fb84a"], [0.5, "#b9c52b"],
    [0.6, "#f5b324"], [0.7, "#ee6a2c"], [0.8, "#d82a4a"], [0.9, "#ff9bd0"], [1, "#ffffff"]];
  const MASKS = ["#f06000", "#c4c7cc", "#2f6fd0", "#31a354", "#9e5fc4", "#c9a800"];
  const WRONG = 0xffff00ff; // not finite: magenta
  const viewers = new Map();

  const parts = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const word = ([red, green, blue]) => (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;

  /* 256 colours as canvas words (little-endian ABGR), linear between the anchors. */
  function ramp(anchors) {
    return Uint32Array.from({ length: 256 }, (_, i) => {
      const at = i / 255, high = anchors.findIndex(([place], k) => k > 0 && place >= at);
      const [[from, a], [to, b]] = [anchors[high - 1], anchors[high]];
      const start = parts(a), end = parts(b), share = (at - from) / (to - from);
      return word(start.map((v, c) => Math.round(v + (end[c] - v) * share)));
    });
  }
  const RAMPS = { rising: ramp(RISING), diverging: ramp(DIVERGING), spectrum: ramp(SPECTRUM) };

  /* What an element holds, or the one that holds the same. */
  const textOf = (element) => (element.dataset.same ? document.getElementById(element.dataset.same) : element).textContent;

  async function inflated(text) {
    const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* The inverse of packed() in hdrcli/webview.py, which describes the format: bytes to planes of codes, red, green, blue. */
  function unpacked(bytes, { width, height, classes }) {
    const count = width * height, view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const coded = [];
    let numbers = 12 * classes, excess = numbers + 3 * count, before = null;
    const next = new Uint32Array(classes);
    for (let c = 0; c < 3; c++) {
      for (let k = 0; k < classes; k++) {
        next[k] = numbers;
        numbers += view.getUint32(4 * (c * classes + k), true);
      }
      const plane = new Int32Array(count), folded = new Int32Array(count);
      for (let y = 0, i = 0; y < height; y++) {
        for (let x = 0; x < width; x++, i++) {
          let west, north, corner, east; // positions of the neighbours; -1: there is none, 0 stands for it
          if (y === 0) west = north = corner = east = i - 1;
          else {
            north = i - width;
            west = x === 0 ? north : i - 1;
            corner = x === 0 ? north : north - 1;
            east = x === width - 1 ? north : north + 1;
          }
          let busy = 1 + (before === null ? 0 : 3 * before[i]), guess = 0;
          if (west >= 0) {
            busy += 2 * folded[west] + 2 * folded[north] + folded[corner] + folded[east];
            const w = plane[west], n = plane[north], nw = plane[corner];
            const low = w < n ? w : n, high = w < n ? n : w;
            guess = nw >= high ? low : nw <= low ? high : w + n - nw;
          }
          const octave = 31 - Math.clz32(busy);
          let kind = 2 * octave + (octave > 0 ? (busy >> (octave - 1)) & 1 : 0);
          if (kind >= classes) kind = classes - 1;
          let number = bytes[next[kind]++];
          if (number === 255) {
            number += view.getUint16(excess, true);
            excess += 2;
          }
          folded[i] = number;
          plane[i] = guess + (number & 1 ? -(number + 1) / 2 : number / 2);
        }
      }
      before = folded;
      coded.push(plane);
    }
    const [green, red, blue] = coded;
    for (let i = 0; i < count; i++) {
      red[i] += green[i];
      blue[i] += green[i];
    }
    return [red, green, blue].map((plane) => Uint16Array.from(plane));
  }

  /* What a page's form says: one for all viewers. */
  function choices() {
    const form = document.querySelector(".hv-controls");
    if (form === null) return { ev: 0, auto: true, falseColour: false, map: "signed", scale: 2, flipped: false, operator: "" };
    const at = form.elements; // a page has those that make sense for it
    return {
      ev: Number(at.ev.value), auto: at.auto?.checked ?? false, falseColour: at.false.checked, map: at.map?.value ?? "none",
      scale: Number(at.scale?.value ?? 2), flipped: form.dataset.flipped === "yes", operator: at.operator?.value ?? "",
    };
  }

  function brief(value) {
    if (!Number.isFinite(value)) return "not finite";
    const size = Math.abs(value);
    return size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(2) : Number(value.toPrecision(3)).toString();
  }
  const signed = (value, digits = 2) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(digits);
  const stop = (value) => (value === 0 ? "0" : (value < 0 ? "\u2212" : "+") + Math.abs(value));

  class Viewer {
    constructor(figure) {
      this.figure = figure;
      this.facts = JSON.parse(figure.dataset.facts);
      const { steps, darkest, notFinite } = this.facts;
      this.light = Float64Array.from({ length: notFinite + 1 }, (_, code) =>
        code === 0 ? 0 : code === notFinite ? NaN : 2 ** ((code - 1) / steps + darkest));
      this.panels = [...figure.querySelectorAll(".hv-panel")].map((element, i) => ({
        ...this.facts.panels[i], element,
        picture: element.querySelector(".hv-picture"), map: element.querySelector(".hv-map"),
        values: element.querySelector(".hv-values"), data: element.querySelector(".hv-data"), planes: null, done: {},
        bars: element.querySelector(".hv-histogram"), forms: element.querySelector(".hv-operators"), operators: null,
      }));
      this.reference = this.panels.find((p) => p.role === "reference" && p.data !== null) ?? null;
      this.at = null;
      this.ready = false;
      this.wanted = false;
      for (const stage of figure.querySelectorAll(".hv-stage")) {
        stage.style.aspectRatio = `${this.facts.width} / ${this.facts.height}`;
        stage.style.setProperty("--aspect", this.facts.width / this.facts.height);
        stage.style.setProperty("--columns", this.facts.width);
        stage.classList.toggle("hv-few", Math.max(this.facts.width, this.facts.height) <= 256);
        const cross = document.createElement("span");
        cross.className = "hv-cross";
        cross.hidden = true;
        stage.append(cross);
      }
      this.crosses = [...figure.querySelectorAll(".hv-cross")];
      this.follow();
    }

    /* Decode all pictures, one after another with a pause, so that scrolling goes on; give up when out of sight again. */
    async load() {
      this.wanted = true;
      if (this.loading) return this.loading;
      this.loading = (async () => {
        for (const panel of this.panels) {
          if (panel.data === null || panel.planes !== null) continue;
          if (!this.wanted) return;
          panel.planes = unpacked(await inflated(textOf(panel.data)), this.facts);
          panel.luminance = this.luminanceOf(panel.planes);
          panel.wrong = []; // where a channel is not finite, so is luminance
          for (let i = 0; i < panel.luminance.length; i++) if (Number.isNaN(panel.luminance[i])) panel.wrong.push(i);
          if (panel.forms !== null)
            panel.operators = hdrTone.parsed(JSON.parse(new TextDecoder().decode(await inflated(textOf(panel.forms)))));
          await new Promise((done) => setTimeout(done));
        }
        const masks = this.figure.querySelector(".hv-masks");
        if (masks !== null && this.wanted) this.masks = await inflated(textOf(masks));
        if (!this.wanted) return;
        this.chooseRange();
        this.ready = true;
        this.draw();
        this.figure.dataset.ready = "yes";
      })();
      try {
        await this.loading;
      } catch (error) {
        this.figure.querySelector(".hv-legend").textContent = `These pictures can't be shown: ${error}`;
        throw error;
      } finally {
        this.loading = null;
        if (!this.wanted) this.unload();
      }
    }

    unload() {
      this.wanted = this.ready = false;
      delete this.figure.dataset.ready;
      for (const panel of this.panels) {
        panel.planes = panel.luminance = panel.stops = panel.operators = null;
        panel.done = {};
        for (const canvas of [panel.picture, panel.map]) if (canvas) canvas.width = canvas.height = 0;
      }
      this.masks = null;
    }

    luminanceOf([red, green, blue]) {
      const { light } = this, out = new Float32Array(red.length);
      for (let i = 0; i < out.length; i++)
        out[i] = LUMINANCE[0] * light[red[i]] + LUMINANCE[1] * light[green[i]] + LUMINANCE[2] * light[blue[i]];
      return out;
    }

    /* Signed error in stops of a panel: log2((Y + f) / (Y of the reference + f)), f = 2^-10 of white. */
    stopsOf(panel) {
      if (panel.stops) return panel.stops;
      const a = panel.luminance, b = this.reference.luminance, floor = this.facts.floor * this.reference.white;
      panel.stops = new Float32Array(a.length);
      for (let i = 0; i < a.length; i++) panel.stops[i] = Math.log2((a[i] + floor) / (b[i] + floor));
      return panel.stops;
    }

    compares(panel) {
      if (this.reference === null || this.reference.planes === null || panel.planes === null) return false;
      return panel.role === "test" && panel.unit === this.reference.unit;
    }

    /* False colour spans whole stops from the 1st to the 99.9th percentile of the reference, or of the first picture. */
    chooseRange() {
      const source = this.reference ?? this.panels.find((p) => p.planes !== null);
      this.rangeUnit = source.unit;
      if (this.facts.stops !== null) { // the page knows better
        this.range = this.facts.stops;
        return;
      }
      const sorted = source.luminance.filter((v) => v > 0).sort();
      const part = (share) => Math.log2(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
      this.range = sorted.length ? [Math.floor(part(0.01)), Math.ceil(part(0.999))] : [0, 1];
      if (this.range[1] <= this.range[0]) this.range[1] = this.range[0] + 1;
    }

    /* What the form asks for, as far as it does not stand there already. */
    draw() {
      if (!this.ready) return;
      this.stale = false;
      const now = choices(), tables = new Map();
      const render = (panel, name, wish, words) => {
        if (panel.done[name] === wish) return;
        panel.done[name] = wish;
        put(panel[name], words(), this.facts);
      };
      for (const panel of this.panels) {
        if (panel.planes === null) continue;
        const shown = now.flipped && this.reference !== null ? this.reference : panel;
        const white = this.whiteOf(shown, now), which = this.panels.indexOf(shown);
        if (now.falseColour) render(panel, "picture", `${which} false`, () => this.inFalseColour(shown));
        else if (shown.operators?.has(now.operator))
          render(panel, "picture", `${which} ${now.operator} ${now.ev}`, () => this.toned(shown, now));
        else render(panel, "picture", `${which} ${white}`, () => this.exposed(shown, white, tables));
        if (panel.map === null) continue;
        panel.map.parentElement.hidden = now.map === "none";
        if (now.map === "none") continue;
        if (panel === this.reference) render(panel, "map", "masks", () => this.inMasks(panel));
        else render(panel, "map", `${now.map} ${now.scale}`, () => this.inStops(panel, now));
      }
      this.tell(now);
      this.inspect();
      for (const panel of this.panels) if (panel.bars) drawHistogram(panel, this.facts.stops, now);
    }

    get inSight() {
      const box = this.figure.getBoundingClientRect();
      return box.bottom > 0 && box.top < innerHeight;
    }

    whiteOf(panel, now) {
      return (now.auto ? panel.auto : panel.white) * 2 ** -now.ev;
    }

    /* Code -> sRGB code, when light of `white` is 255; `tables`: those that are made already. */
    display(white, tables) {
      let table = tables.get(white);
      if (table === undefined) {
        table = new Uint8Array(this.light.length);
        for (let code = 1; code < this.facts.notFinite; code++) {
          const x = Math.min(1, this.light[code] / white);
          table[code] = Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
        }
        tables.set(white, table);
      }
      return table;
    }

    exposed(panel, white, tables) {
      const [red, green, blue] = panel.planes, table = this.display(white, tables), words = new Uint32Array(red.length);
      for (let i = 0; i < words.length; i++)
        words[i] = 0xff000000 | (table[blue[i]] << 16) | (table[green[i]] << 8) | table[red[i]];
      for (const i of panel.wrong) words[i] = WRONG;
      return words;
    }

    toned(panel, now) {
      const words = hdrTone.words(panel.planes, this.light, 2 ** now.ev, panel.operators.get(now.operator));
      for (const i of panel.wrong) words[i] = WRONG;
      return words;
    }

    inFalseColour(panel) {
      const [low, high] = this.range, scale = 255 / (high - low), words = new Uint32Array(panel.luminance.length);
      const codes = panel.unit === this.rangeUnit ? 0 : Math.log2(this.reference?.auto ?? 1) - Math.log2(panel.auto);
      for (let i = 0; i < words.length; i++) {
        const y = panel.luminance[i];
        words[i] = Number.isNaN(y) ? WRONG
          : RAMPS.spectrum[Math.max(0, Math.min(255, Math.round((Math.log2(y) + codes - low) * scale)))];
      }
      return words;
    }

    inStops(panel, now) {
      const stops = this.stopsOf(panel), words = new Uint32Array(stops.length);
      const diverging = now.map === "signed", table = diverging ? RAMPS.diverging : RAMPS.rising;
      for (let i = 0; i < words.length; i++) {
        const share = diverging ? (stops[i] / now.scale + 1) / 2 : Math.abs(stops[i]) / now.scale;
        words[i] = Number.isNaN(share) ? WRONG : table[Math.max(0, Math.min(255, Math.round(255 * share)))];
      }
      return words;
    }

    /* Regions: two parts colour, one part the logarithm of luminance as grey, to know the place by. */
    inMasks(panel) {
      const [low, high] = this.range, words = new Uint32Array(this.masks.length);
      const tables = ["#808080", ...this.facts.masks.map((_, k) => MASKS[k % MASKS.length])].map((colour) =>
        Uint32Array.from({ length: 256 }, (_, grey) => word(parts(colour).map((v) => Math.round((2 * v + grey) / 3)))));
      for (let i = 0; i < words.length; i++) {
        const share = (Math.log2(panel.luminance[i]) - low) / (high - low);
        words[i] = tables[this.masks[i]][Math.round(255 * Math.max(0, Math.min(1, share || 0)))];
      }
      return words;
    }

    /* The legend below the pictures: what white is, what colours mean. */
    tell(now) {
      const legend = this.figure.querySelector(".hv-legend");
      const source = this.reference ?? this.panels.find((p) => p.planes !== null);
      legend.replaceChildren();
      if (now.falseColour) {
        const gap = Math.ceil((this.range[1] - this.range[0]) / 8); // whole stops
        if (this.facts.stops !== null) legend.append(bar(SPECTRUM, this.range, gap, stop, 0), " luminance, stops above 1.0");
        else legend.append(bar(SPECTRUM, this.range, gap, (stops) => brief(2 ** stops)), ` luminance, ${this.rangeUnit}`);
      } else if (this.panels.some((panel) => panel.operators?.has(now.operator))) {
        legend.append(`${now.operator} at ${signed(now.ev, 1)} EV`);
      } else legend.append(`display white: ${brief(this.whiteOf(source, now))} ${source.unit}`);
      if (now.map !== "none") this.facts.masks.forEach((name, i) => {
        const swatch = document.createElement("span"), entry = document.createElement("span");
        swatch.className = "hv-swatch";
        swatch.style.background = MASKS[i % MASKS.length];
        entry.append(swatch, name);
        legend.append(entry);
      });
      const place = document.createElement("span");
      place.className = "hv-place";
      legend.append(place);
    }

    /* Values of every panel at one place. */
    inspect() {
      if (!this.ready) return;
      const { width, height } = this.facts, at = this.at;
      for (const cross of this.crosses) {
        cross.hidden = at === null;
        if (at === null) continue;
        cross.style.left = `${(100 * (at.x + 0.5)) / width}%`;
        cross.style.top = `${(100 * (at.y + 0.5)) / height}%`;
      }
      this.figure.querySelector(".hv-place").textContent = at === null ? "" : this.placeOf(at);
      for (const panel of this.panels) {
        if (panel.values === null) continue;
        if (panel.bars) markHistogram(panel, at === null ? null : panel.luminance[at.y * width + at.x], this.facts.stops);
        if (at === null || panel.planes === null) {
          panel.values.textContent = "";
          continue;
        }
        const i = at.y * width + at.x, rgb = panel.planes.map((plane) => brief(this.light[plane[i]]));
        const error = this.compares(panel) ? ` \u00b7 ${signed(this.stopsOf(panel)[i])} stops` : "";
        const y = panel.luminance[i], nits = panel.nits === null ? "" : ` = ${brief(y * panel.nits)} cd/m\u00b2`;
        const stops = this.facts.stops === null || !(y > 0) ? "" : ` \u00b7 ${signed(Math.log2(y))} stops`;
        const light = `${brief(y)} ${panel.unit}${stops}${nits}`;
        panel.values.textContent = `R ${rgb[0]}  G ${rgb[1]}  B ${rgb[2]}\nY ${light}${error}`;
      }
    }

    /* Where a pixel is, in the file where the picture is a smaller one of it. */
    placeOf(at) {
      const { width, height, whole } = this.facts;
      if (whole === null || (whole[0] === width && whole[1] === height)) return `pixel (${at.x}, ${at.y})`;
      const [across, down] = [whole[0] / width, whole[1] / height], times = `${brief(across)} \u00d7 ${brief(down)}`;
      return `mean of ${times} pixels about (${Math.floor((at.x + 0.5) * across)}, ${Math.floor((at.y + 0.5) * down)})`;
    }

    follow() {
      const place = (event) => {
        const stage = event.target.closest(".hv-stage");
        if (stage === null || !this.ready) return;
        const box = stage.getBoundingClientRect(), { width, height } = this.facts;
        const clamp = (share, end) => Math.max(0, Math.min(end - 1, Math.floor(share * end)));
        const across = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
        this.at = { x: clamp(across, width), y: clamp(down, height) };
        this.inspect();
      };
      const clear = () => {
        this.at = null;
        this.inspect();
      };
      this.figure.addEventListener("pointermove", place);
      this.figure.addEventListener("pointerdown", place);
      this.figure.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") clear(); });
      const group = this.figure.querySelector(".hv-panels");
      group.addEventListener("blur", clear);
      group.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (step === undefined || !this.ready || event.target !== group) return;
        event.preventDefault();
        const { width, height } = this.facts, far = event.shiftKey ? 10 : 1;
        const from = this.at ?? { x: width >> 1, y: height >> 1 }, clamp = (v, end) => Math.max(0, Math.min(end - 1, v));
        this.at = { x: clamp(from.x + far * step[0], width), y: clamp(from.y + far * step[1], height) };
        this.inspect();
      });
    }
  }

  function put(canvas, words, { width, height }) {
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(words.buffer), width, height), 0, 0);
  }

  /* A colour bar with ticks at equal distances, one of them at `from` if that is within. */
  function bar(colours, [low, high], gap, text, from = low) {
    const box = document.createElement("span"), strip = document.createElement("span");
    box.className = "hv-bar";
    strip.className = "hv-strip";
    const anchors = colours.map(([place, colour]) => `${colour} ${100 * place}%`);
    strip.style.background = `linear-gradient(to right, ${anchors.join(", ")})`;
    box.append(strip);
    for (let at = from + Math.ceil((low - from) / gap) * gap; at <= high + 1e-9; at += gap) {
      const tick = document.createElement("span");
      tick.className = "hv-tick";
      tick.style.left = `${(100 * (at - low)) / (high - low)}%`;
      tick.textContent = text(at);
      box.append(tick);
    }
    return box;
  }

  /* How many pixels are how bright, in the colours that they have in false colour; the square root, so that few show too. */
  function drawHistogram(panel, [low, high], now) {
    const { first, perStop, counts } = panel.histogram, canvas = panel.bars.querySelector("canvas"), tall = 120, wide = 4;
    const ticks = panel.bars.querySelectorAll(".hv-tick").length, largest = Math.sqrt(Math.max(...counts, 1));
    canvas.width = (high - low) * perStop * wide;
    canvas.height = tall;
    const brush = canvas.getContext("2d");
    counts.forEach((count, i) => {
      const place = first + i / perStop - low, share = Math.max(0, Math.min(1, (place + 0.5 / perStop) / (high - low)));
      const bar = Math.max(Math.round((tall * Math.sqrt(count)) / largest), count > 0 ? 1 : 0);
      const colour = RAMPS.spectrum[Math.round(255 * share)];
      brush.fillStyle = `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
      brush.fillRect(place * perStop * wide, tall - bar, wide - 1, bar);
    });
    const white = panel.bars.querySelector(".hv-white"), at = -Math.log2(panel.white) - now.ev;
    const exposed = !panel.operators?.has(now.operator); // an operator has no single light that it shows as white
    white.hidden = !exposed || at < low || at > high;
    white.style.left = `${(100 * (at - low)) / (high - low)}%`;
    if (ticks > 0) return;
    const gap = Math.ceil((high - low) / 10);
    for (let value = Math.ceil(low / gap) * gap; value < high; value += gap) {
      if (Math.min(value - low, high - value) < 0.03 * (high - low)) continue; // it would be cut
      const tick = document.createElement("span");
      tick.className = "hv-tick";
      tick.style.left = `${(100 * (value - low)) / (high - low)}%`;
      tick.textContent = stop(value);
      panel.bars.append(tick);
    }
  }

  /* Where in its histogram the inspected pixel stands. */
  function markHistogram(panel, y, [low, high]) {
    const mark = panel.bars.querySelector(".hv-mark"), at = y > 0 ? Math.log2(y) : null;
    mark.hidden = at === null || at < low || at > high;
    if (!mark.hidden) mark.style.left = `${(100 * (at - low)) / (high - low)}%`;
  }

  function showControls(form) {
    const now = choices();
    form.elements.shown.value = `${now.ev > 0 ? "+" : now.ev < 0 ? "\u2212" : ""}${Math.abs(now.ev).toFixed(1)} EV`;
    const scale = form.querySelector(".hv-scale");
    if (scale === null) return;
    form.elements.scale.disabled = now.map === "none";
    scale.replaceChildren();
    const plain = (v) => `${v > 0 && now.map === "signed" ? "+" : v < 0 ? "\u2212" : ""}${Math.abs(v)}`;
    const ends = now.map === "signed" ? [-now.scale, now.scale] : [0, now.scale];
    if (now.map !== "none") scale.append(bar(now.map === "signed" ? DIVERGING : RISING, ends, (ends[1] - ends[0]) / 4, plain));
  }

  let asked = false, printing = false;
  function redraw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      for (const viewer of viewers.values()) {
        if (printing || viewer.inSight) viewer.draw();
        else viewer.stale = true;
      }
    });
  }

  /* Every picture of the page that is not folded away, for paper: nothing is out of sight there. */
  async function loadAll() {
    for (const viewer of viewers.values()) {
      if (viewer.figure.checkVisibility?.() === false) continue;
      if (!viewer.ready) await viewer.load();
      viewer.draw();
    }
  }

  function start() {
    const figures = document.querySelectorAll(".hv"), form = document.querySelector(".hv-controls");
    if (typeof DecompressionStream === "undefined") {
      const why = "This browser is older than 2023 and can't decode the pictures.";
      for (const figure of figures) figure.querySelector(".hv-legend").textContent = why;
      return;
    }
    for (const figure of figures) viewers.set(figure, new Viewer(figure));
    const watch = new IntersectionObserver((changes) => {
      for (const { target, isIntersecting } of changes) {
        const viewer = viewers.get(target);
        if (isIntersecting) viewer.load();
        else if (!printing) viewer.loading ? (viewer.wanted = false) : viewer.unload();
      }
    }, { rootMargin: FAR });
    const seen = new IntersectionObserver((changes) => {
      for (const { target, isIntersecting } of changes) {
        const viewer = viewers.get(target);
        if (isIntersecting && viewer.stale) viewer.draw();
      }
    });
    for (const figure of figures) {
      watch.observe(figure);
      seen.observe(figure);
    }
    if (form === null) return;
    const at = form.elements, flip = (on) => {
      if ((form.dataset.flipped === "yes") === on) return;
      form.dataset.flipped = on ? "yes" : "no";
      at.flip.setAttribute("aria-pressed", String(on));
      redraw();
    };
    form.addEventListener("input", () => { showControls(form); redraw(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    at.zero.addEventListener("click", () => { at.ev.value = 0; showControls(form); redraw(); });
    at.print?.addEventListener("click", async () => {
      printing = true;
      await loadAll();
      window.print();
      printing = false;
    });
    showControls(form);
    if (at.flip === undefined) return; // nothing to compare with
    at.flip.addEventListener("pointerdown", () => flip(true));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) at.flip.addEventListener(end, () => flip(false));
    const held = (event) => event.key.toLowerCase() === "r" && !event.ctrlKey && !event.metaKey && !event.altKey
      && !event.target.closest?.("input:not([type=range]):not([type=checkbox]), select, textarea");
    document.addEventListener("keydown", (event) => { if (held(event)) flip(true); });
    document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "r") flip(false); });
    at.flip.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") flip(true); });
    at.flip.addEventListener("keyup", () => flip(false));
  }

  document.addEventListener("DOMContentLoaded", start);
  return { viewers, loadAll, unpacked, inflated };
})();
