"use strict";
/* Runs a network on one image: a list of steps, as page.json has it (raprune/network/chain.py writes it).
   Shapes: N filters or outputs, C channels, H x W pixels; images are Float32Array, CHW. */

const Network = (() => {
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const NUMBERS = new Map([...LETTERS].map((letter, place) => [letter, place - 32]));

  /** The steps with their weights as numbers. */
  function prepare(steps) {
    return steps.map((step) => {
      if (!step.weights) return step;
      const each = step.weights.length / step.shape[0];
      const weights = Float32Array.from(step.weights, (letter, place) => {
        return NUMBERS.get(letter) * Math.fround(step.scales[Math.floor(place / each)]);
      });
      return { ...step, weights };
    });
  }

  /** Pixels (0 to 255) as a network's input. */
  function inputOf(pixels, { input_shape: shape, mean, std }) {
    const area = shape[1] * shape[2];
    const values = Float32Array.from(pixels, (pixel, place) => {
      const channel = Math.floor(place / area);
      return (pixel / 255 - mean[channel]) / std[channel];
    });
    return { values, shape };
  }

  /** Logits of one image, and the mean of each filter's activation, convolution by convolution. */
  function run(steps, input) {
    const filters = [];
    let image = input;
    steps.forEach((step, place) => {
      image = STEPS[step.op](image, step);
      const rectified = step.op === "conv" && steps[place + 1]?.op === "relu";
      if (rectified || step.op === "conv") filters.push({ layer: step.layer, means: means(image, rectified) });
    });
    return { logits: image.values, filters };
  }

  function conv({ values, shape: [C, H, W] }, step) {
    const [N, , height, width] = step.shape;
    const [down, across] = step.stride, [top, left] = step.padding;
    const H2 = Math.floor((H + 2 * top - height) / down) + 1, W2 = Math.floor((W + 2 * left - width) / across) + 1;
    const out = new Float32Array(N * H2 * W2);
    for (let n = 0, w = 0; n < N; n++) {
      out.fill(step.bias[n], n * H2 * W2, (n + 1) * H2 * W2);
      for (let c = 0; c < C; c++) {
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++, w++) {
            const weight = step.weights[w];
            if (weight === 0) continue;
            const first = Math.max(0, Math.ceil((left - x) / across));
            const end = Math.min(W2, Math.floor((W - 1 + left - x) / across) + 1);
            for (let row = 0; row < H2; row++) {
              const from = row * down + y - top;
              if (from < 0 || from >= H) continue;
              const to = (n * H2 + row) * W2;
              let source = (c * H + from) * W + first * across + x - left;
              for (let column = first; column < end; column++, source += across) {
                out[to + column] += weight * values[source];
              }
            }
          }
        }
      }
    }
    return { values: out, shape: [N, H2, W2] };
  }

  function linear({ values }, step) {
    const [N, M] = step.shape;
    const out = Float32Array.from({ length: N }, (_, n) => {
      let sum = step.bias[n];
      for (let m = 0; m < M; m++) sum += step.weights[n * M + m] * values[m];
      return sum;
    });
    return { values: out, shape: [N] };
  }

  /** Pooling: `start`, then `join(so far, value)` over each window, then `end(result, size of the window)`. */
  function pool(start, join, end) {
    return ({ values, shape: [C, H, W] }, step) => {
      const [height, width] = step.size, [down, across] = step.stride, [top, left] = step.padding;
      const H2 = Math.floor((H + 2 * top - height) / down) + 1, W2 = Math.floor((W + 2 * left - width) / across) + 1;
      const out = new Float32Array(C * H2 * W2);
      for (let place = 0; place < out.length; place++) {
        const column = (place % W2) * across - left;
        const row = (Math.floor(place / W2) % H2) * down - top;
        const plane = Math.floor(place / (H2 * W2)) * H * W;
        let result = start;
        for (let y = Math.max(0, row); y < Math.min(H, row + height); y++) {
          for (let x = Math.max(0, column); x < Math.min(W, column + width); x++) {
            result = join(result, values[plane + y * W + x]);
          }
        }
        out[place] = end(result, height * width);
      }
      return { values: out, shape: [C, H2, W2] };
    };
  }

  /** The mean of each channel; of its positive part only, if `rectified`. */
  function means({ values, shape: [N, H, W] }, rectified) {
    const area = H * W;
    return Float32Array.from({ length: N }, (_, n) => {
      let sum = 0;
      for (let place = n * area; place < (n + 1) * area; place++) {
        sum += rectified ? Math.max(0, values[place]) : values[place];
      }
      return sum / area;
    });
  }

  const STEPS = {
    conv,
    linear,
    relu: ({ values, shape }) => ({ values: values.map((value) => Math.max(0, value)), shape }),
    max_pool: pool(-Infinity, Math.max, (result) => result),
    mean_pool: pool(0, (sum, value) => sum + value, (sum, size) => sum / size),
    global_mean: (image) => ({ values: means(image, false), shape: [image.shape[0], 1, 1] }),
    flatten: ({ values }) => ({ values, shape: [values.length] }),
  };

  /** Shares of one, from logits. */
  function softmax(logits) {
    const largest = Math.max(...logits);
    const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }

  return { prepare, inputOf, run, softmax };
})();
