"use strict";
/* Tone mapping in a page: the forms that hdrcli/viewing/operators.py writes, computed pixel by pixel. */
const hdrTone = (() => {
  const LUMINANCE = [0.2126, 0.7152, 0.0722]; // BT.709
  const DARK = 1e-9; // as in hdrcli/tonemapping/_color.py
  const FLOAT = new Float32Array(1), BITS = new Int32Array(FLOAT.buffer);
  const CODES = Uint8Array.from({ length: 65537 }, (_, i) => {
    const x = Math.min(1, (i + 0.5) / 65535);
    return Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
  });
  const code = (x) => CODES[x <= 0 ? 0 : x >= 1 ? 65535 : (x * 65535) | 0];

  /* A function that reads a sampled curve: nodes lie evenly in each octave, so a number's upper bits tell between which. */
  function curve(values, { from, perOctave }) {
    const numbers = Float64Array.from(values), shift = 23 - Math.log2(perOctave), last = values.length - 1;
    const first = (from + 127) * perOctave, mask = (1 << shift) - 1, scale = 1 / (1 << shift);
    return (x) => {
      FLOAT[0] = x;
      const bits = BITS[0], i = (bits >> shift) - first;
      if (i < 0) return numbers[0];
      if (i >= last) return numbers[last];
      return numbers[i] + (numbers[i + 1] - numbers[i]) * (bits & mask) * scale;
    };
  }

  function mix(matrix, rgb) {
    const r = rgb[0], g = rgb[1], b = rgb[2];
    for (let c = 0; c < 3; c++) rgb[c] = matrix[3 * c] * r + matrix[3 * c + 1] * g + matrix[3 * c + 2] * b;
  }

  /* Towards grey of the same luminance, as far as it takes to be within 0 and 1. */
  function intoGamut(rgb, y) {
    const high = Math.max(rgb[0], rgb[1], rgb[2]);
    if (high <= 1) return; // light is never below 0
    const share = Math.max(1 - y, 0) / Math.max(high - y, 1e-6);
    for (let c = 0; c < 3; c++) rgb[c] = y + share * (rgb[c] - y);
  }

  const luminance = (rgb) => LUMINANCE[0] * rgb[0] + LUMINANCE[1] * rgb[1] + LUMINANCE[2] * rgb[2];

  /* Functions that turn scene light, [r, g, b], into display light in its place. */
  const KINDS = {
    channels({ before, curve, back, after }) {
      return (rgb) => {
        if (before) mix(before, rgb);
        for (let c = 0; c < 3; c++) rgb[c] = curve(rgb[c]);
        if (back) mix(back, rgb);
        if (after) for (let c = 0; c < 3; c++) rgb[c] = after(Math.max(rgb[c], 0));
      };
    },
    luminance({ gain, saturation }) {
      return (rgb) => {
        const y = luminance(rgb), factor = gain(y), shown = Math.min(y * factor, 1);
        if (saturation === 1) {
          for (let c = 0; c < 3; c++) rgb[c] *= factor;
          intoGamut(rgb, shown);
        } else {
          const unit = 1 / Math.max(y, DARK);
          for (let c = 0; c < 3; c++) rgb[c] = shown * (rgb[c] * unit) ** saturation;
          intoGamut(rgb, Math.min(luminance(rgb), 1));
        }
      };
    },
    peak({ scale, offset, gain, grey }) {
      return (rgb) => {
        const r = rgb[0] * scale, g = rgb[1] * scale, b = rgb[2] * scale, less = offset(Math.min(r, g, b));
        const peak = Math.max(Math.max(r, g, b) - less, 0), factor = gain(peak), more = grey(peak);
        rgb[0] = (r - less) * factor + more;
        rgb[1] = (g - less) * factor + more;
        rgb[2] = (b - less) * factor + more;
      };
    },
  };

  /* The operators of a picture by name, from what the page holds. */
  function parsed({ nodes, forms }) {
    const found = new Map();
    for (const [name, form] of Object.entries(forms)) {
      const read = (value) => { // a number, a matrix, or a sampled curve
        if (!Array.isArray(value)) return value;
        return Array.isArray(value[0]) ? Float64Array.from(value.flat()) : curve(value, nodes);
      };
      const parts = Object.fromEntries(Object.entries(form).map(([key, value]) => [key, read(value)]));
      const separable = form.kind === "channels" && !form.before && !form.back;
      found.set(name, { separable, apply: KINDS[form.kind](parts) });
    }
    return found;
  }

  /* A picture as canvas words. `planes`: codes of red, green, blue; `light`: what a code stands for; `factor`: exposure. */
  function words([red, green, blue], light, factor, { separable, apply }) {
    const out = new Uint32Array(red.length), rgb = new Float64Array(3);
    if (separable) { // what becomes of a channel depends on nothing else: once a code
      const table = Uint8Array.from(light, (x) => {
        rgb.fill(Number.isNaN(x) ? 0 : x * factor);
        apply(rgb);
        return code(rgb[0]);
      });
      for (let i = 0; i < out.length; i++)
        out[i] = 0xff000000 | (table[blue[i]] << 16) | (table[green[i]] << 8) | table[red[i]];
      return out;
    }
    const exposed = Float64Array.from(light, (x) => (Number.isNaN(x) ? 0 : x * factor));
    for (let i = 0; i < out.length; i++) {
      rgb[0] = exposed[red[i]];
      rgb[1] = exposed[green[i]];
      rgb[2] = exposed[blue[i]];
      apply(rgb);
      out[i] = 0xff000000 | (code(rgb[2]) << 16) | (code(rgb[1]) << 8) | code(rgb[0]);
    }
    return out;
  }

  return { parsed, words };
})();
