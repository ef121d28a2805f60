// One chart: lines over steps, drawn by uPlot, with a legend that reads out the cursor.
import { format } from "./format.js"
import { smooth } from "./series.js"
import { valuesTable } from "./values-table.js"

const DASHES = [[], [7, 4], [2, 3], [10, 4, 2, 4]]
// Denser lines are drawn thinner.
const DENSE = 300
// So many points are drawn as points too.
const FEW = 40

export class Plot {
  #figure; #box; #lines; #words; #uplot = null; #table = []; #at = null

  // line: {id, label, color, dash, series}; words: {step, nan, cut}; on: {zoom, reset}
  constructor(figure, lines, words, on) {
    this.#figure = figure
    this.#box = figure.querySelector(".chart__canvas")
    this.#lines = lines
    this.#words = words
    this.on = on
    this.view = { smoothing: 0, log: false, range: null }
    this.#addLegend()
    this.#box.addEventListener("keydown", this.#steer)
    figure.querySelector("details").addEventListener("toggle", () => this.#fillTable())
    new ResizeObserver(() => this.#resize()).observe(this.#box)
  }

  // Draws what the lines hold now; a chart without a curve stays hidden.
  draw() {
    const visible = this.#lines.some(line => line.series.count > 1)
    this.#figure.hidden = !visible
    if (!visible) return
    if (!this.#uplot) this.#build()
    this.#uplot.setData(this.#data())
    this.#say(this.#at)
  }

  // Axes, colours and line styles are fixed when a plot is made: another view is another plot.
  rebuild() {
    this.#uplot?.destroy()
    this.#uplot = null
    this.draw()
  }

  #data() {
    const all = new Set()
    for (const line of this.#lines) for (const step of line.series.points()[0]) all.add(step)
    const steps = [...all].sort((a, b) => a - b)
    const index = new Map(steps.map((step, at) => [step, at]))
    const columns = this.#lines.flatMap(line => this.#columns(line, index, steps.length))
    this.#table = [steps, ...columns]
    return this.#table
  }

  #columns(line, index, length) {
    const [steps, values] = line.series.points()
    const spread = numbers => {
      const column = new Array(length)
      numbers.forEach((value, at) => { column[index.get(steps[at])] = this.#drawable(value) })
      return column
    }
    const { smoothing } = this.view
    return [spread(values), smoothing ? spread(smooth(values, smoothing)) : new Array(length)]
  }

  // null breaks a line, undefined (no such point) does not.
  #drawable(value) {
    return Number.isFinite(value) && (!this.view.log || value > 0) ? value : null
  }

  #build() {
    const style = name => this.#color(`--${name}`)
    const [ink, line] = [style("quiet"), style("line")]
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui" }
    const unit = this.#figure.dataset.unit
    this.#uplot = new window.uPlot({
      width: this.#width, height: this.#height, legend: { show: false },
      scales: {
        x: { time: false, range: (_, low, high) => this.view.range ?? (low === high ? [low - 1, high + 1] : [low, high]) },
        y: this.view.log ? { distr: 3 } : { range: (_, low, high) => padded(low, high) },
      },
      axes: [
        { ...axis, size: 26, values: (_, ticks) => ticks.map(tick => Number.isInteger(tick) ? format(tick) : "") },
        { ...axis, size: 62, values: (_, ticks) => ticks.map(tick => tick === null ? "" : format(tick, unit, 3)) },
      ],
      cursor: {
        sync: { key: this.on.group, scales: ["x", null] }, y: false,
        drag: { x: true, y: false, setScale: false }, points: { size: 7 },
        bind: { dblclick: () => () => { this.on.reset(); return null } },
      },
      series: [{}, ...this.#lines.flatMap(each => this.#styles(each))],
      hooks: { setCursor: [u => this.#say(u.cursor.idx)], setSelect: [u => this.#select(u)], draw: [u => this.#mark(u)] },
    }, this.#data(), this.#box)
  }

  #styles(line) {
    const stroke = this.#color(`--series-${line.color}`)
    const dash = DASHES[line.dash % DASHES.length]
    const smoothed = this.view.smoothing > 0
    const width = smoothed ? 1 : line.series.count > DENSE ? 1.15 : 1.9
    const points = { show: () => line.series.count <= FEW, size: 5, fill: stroke }
    const raw = { stroke, dash, width, alpha: smoothed ? .3 : 1, points }
    return [raw, { stroke, dash, width: 2.25, show: smoothed, points: { show: false } }]
  }

  // The browser resolves light-dark() and oklch(); a canvas needs the result.
  #color(property) {
    const probe = this.#figure.querySelector(".chart__title")
    probe.style.setProperty("accent-color", `var(${property})`)
    const found = getComputedStyle(probe).accentColor
    probe.style.removeProperty("accent-color")
    return found
  }

  // Values that are no number stand as crosses on the upper edge.
  #mark(u) {
    const { ctx } = u
    ctx.save()
    ctx.strokeStyle = this.#color("--negative")
    ctx.lineWidth = 2 * devicePixelRatio
    const size = 4 * devicePixelRatio
    for (const line of this.#lines) {
      const [steps, values] = line.series.points()
      values.forEach((value, at) => {
        if (Number.isFinite(value)) return
        const [x, y] = [u.valToPos(steps[at], "x", true), u.bbox.top + size + 2]
        if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return
        ctx.beginPath()
        ctx.moveTo(x - size, y - size); ctx.lineTo(x + size, y + size)
        ctx.moveTo(x + size, y - size); ctx.lineTo(x - size, y + size)
        ctx.stroke()
      })
    }
    ctx.restore()
  }

  #select(u) {
    if (u.select.width < 4) return
    const [from, to] = [u.select.left, u.select.left + u.select.width].map(at => u.posToVal(at, "x"))
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
    this.on.zoom(Math.floor(from), Math.ceil(to))
  }

  #addLegend() {
    const legend = this.#figure.querySelector(".chart__legend")
    for (const line of this.#lines) {
      const item = document.createElement("li")
      item.className = "chart__key"
      item.innerHTML = `<svg class="chart__swatch chart__swatch--${Number(line.color)}" viewBox="0 0 22 8" aria-hidden="true"><path d="M0 4h22" stroke-dasharray="${DASHES[line.dash % DASHES.length].join(" ")}"/></svg>`
      const label = document.createElement("span")
      label.textContent = line.label
      line.value = document.createElement("output")
      line.value.className = "chart__value"
      item.append(label, line.value)
      legend.append(item)
    }
  }

  // The value at the cursor, or before it where a line has no point there; the newest without one.
  #say(at) {
    this.#at = at ?? null
    const unit = this.#figure.dataset.unit
    this.#lines.forEach((line, place) => {
      line.value.parentElement.hidden = line.series.count === 0
      const value = this.#at === null ? line.series.last : this.#before(place, this.#at)
      line.value.textContent = Number.isNaN(value) ? this.#words.nan : format(value, unit)
    })
    this.#figure.querySelector(".chart__head").dataset.step =
      this.#at === null ? "" : `${this.#words.step} ${format(this.#table[0][this.#at])}`
  }

  #before(place, at) {
    const column = this.#table[1 + 2 * place + (this.view.smoothing ? 1 : 0)]
    while (at > 0 && column[at] === undefined) at--
    return column[at] === null ? NaN : column[at]
  }

  #steer = event => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key]
    if (event.key === "Escape") return this.on.reset()
    if (!move || !this.#uplot) return
    event.preventDefault()
    const last = this.#table[0].length - 1
    const at = Math.max(0, Math.min(last, (this.#at ?? (move > 0 ? -1 : last + 1)) + move))
    this.#uplot.setCursor({ left: this.#uplot.valToPos(this.#table[0][at], "x"), top: this.#height / 2 })
    this.#say(at)
    this.on.speak(`${this.#words.step} ${this.#table[0][at]}: ${this.#lines.map(line => `${line.label} ${line.value.textContent}`).join(", ")}`)
  }

  #fillTable() {
    const details = this.#figure.querySelector("details")
    const place = details.querySelector(".table-scroll")
    if (details.open) place.replaceChildren(...valuesTable(this.#lines, this.#table, this.#words, this.#figure.dataset.unit))
  }

  get #width() { return Math.max(200, this.#box.clientWidth) }
  get #height() { return this.#box.clientHeight || 200 }
  #resize() { this.#uplot?.setSize({ width: this.#width, height: this.#height }) }
}

function padded(low, high) {
  if (low === null || high === null) return [0, 1]
  const room = (high - low || Math.abs(high) || 1) * .06
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room]
}
