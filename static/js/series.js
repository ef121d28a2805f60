// The points of one line, in order of their steps. A point that comes twice changes nothing.
const WORDS = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity }
// Beyond this, old points are thinned; a zoom asks the server for all of a range.
const MOST_POINTS = 4000

export class Series {
  #steps = []
  #values = []
  #detail = null

  add({ steps, values }) {
    for (let at = 0; at < steps.length; at++) {
      if (values[at] !== null) this.#put(steps[at], WORDS[values[at]] ?? values[at])
    }
    if (this.#steps.length > MOST_POINTS) this.#thin()
  }

  // Points after this step belong to an attempt that was superseded.
  rewind(step) {
    const kept = this.#place(step + 1)
    this.#steps.length = this.#values.length = kept
    this.#detail = null
  }

  // Every point of a range, in place of the thinned ones.
  refine(from, to, points) { this.#detail = points && { from, to, series: Series.of(points) } }

  static of(points) {
    const made = new Series()
    made.add(points)
    return made
  }

  get count() { return this.#steps.length }
  get last() { return this.#values.at(-1) }

  points() {
    if (!this.#detail) return [this.#steps, this.#values]
    const { from, to, series } = this.#detail
    const [start, end] = [this.#place(from), this.#place(to + 1)]
    const [steps, values] = series.points()
    return [
      [...this.#steps.slice(0, start), ...steps, ...this.#steps.slice(end)],
      [...this.#values.slice(0, start), ...values, ...this.#values.slice(end)],
    ]
  }

  #put(step, value) {
    const at = step > this.#steps.at(-1) ? this.#steps.length : this.#place(step)
    const known = this.#steps[at] === step
    this.#steps.splice(at, known ? 1 : 0, step)
    this.#values.splice(at, known ? 1 : 0, value)
  }

  #place(step) {
    let [low, high] = [0, this.#steps.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#steps[middle] < step) low = middle + 1
      else high = middle
    }
    return low
  }

  // Of every four old points the extreme two stay, so spikes survive.
  #thin() {
    const keep = new Set()
    const old = this.#steps.length >> 1
    for (let at = 0; at < old; at += 4) {
      const four = [at, at + 1, at + 2, at + 3].sort((a, b) => this.#values[a] - this.#values[b])
      keep.add(four[0]).add(four[3])
    }
    const stays = (_, at) => at >= old || keep.has(at) || Number.isNaN(this.#values[at])
    const values = this.#values
    this.#steps = this.#steps.filter(stays)
    this.#values = values.filter(stays)
  }
}

// Exponential moving average without the pull towards zero at its start; gaps stay gaps.
export function smooth(values, weight) {
  let [sum, mass] = [0, 0]
  return values.map(value => {
    if (!Number.isFinite(value)) return value
    sum = sum * weight + value * (1 - weight)
    mass = mass * weight + (1 - weight)
    return sum / mass
  })
}
