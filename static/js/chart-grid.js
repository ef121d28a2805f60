// All charts of a page: gives them their points, and one smoothing, one axis, one range, one cursor.
import { format } from "./format.js"
import { Plot } from "./plot.js"
import { Series } from "./series.js"

const ZOOM_POINTS = 1500

class ChartGrid extends HTMLElement {
  #lines = new Map()
  #plots = []
  #view = { smoothing: 0, log: false, range: null }
  #waiting = false

  // The libraries are deferred scripts: they are there when the document is.
  connectedCallback() {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => this.#start(), { once: true })
    else this.#start()
  }

  #start() {
    const data = JSON.parse(this.querySelector("[data-points]").textContent)
    this.#readAddress()
    this.#makePlots(data)
    this.querySelector(".charts__toolbar").addEventListener("input", this.#chosen)
    this.#reset.addEventListener("click", () => this.#zoom(null))
    const stream = this.closest("run-stream")
    stream?.addEventListener("run:points", event => this.#take(event.detail.series))
    stream?.addEventListener("run:rewind", event => this.#rewind(event.detail.step))
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#rebuild())
    this.#draw()
  }

  #makePlots({ lines, series }) {
    const speaker = document.createElement("p")
    speaker.className = "sr-only"
    speaker.setAttribute("aria-live", "polite")
    this.append(speaker)
    const on = {
      group: this.dataset.kind, zoom: (from, to) => this.#zoom([from, to]),
      reset: () => this.#zoom(null), speak: sentence => { speaker.textContent = sentence },
    }
    for (const line of lines) {
      this.#lines.set(line.id, { ...line, series: Series.of(series[line.id] ?? { steps: [], values: [] }) })
    }
    for (const figure of this.querySelectorAll("[data-chart]")) {
      const own = [...this.#lines.values()].filter(line => line.chart === figure.dataset.chart)
      const plot = new Plot(figure, own, this.dataset, on)
      plot.view = this.#view
      this.#plots.push(plot)
    }
  }

  #take(series) {
    for (const [id, points] of Object.entries(series)) {
      this.#lines.get(id)?.series.add(points)
      this.#tell(id, points.values.at(-1))
    }
    this.#draw()
  }

  #rewind(step) {
    for (const line of this.#lines.values()) line.series.rewind(step)
    this.#draw()
  }

  // A key figure above the charts.
  #tell(id, value) {
    const place = this.querySelector(`[data-live="${CSS.escape(id)}"]`)
    if (place) place.textContent = format(typeof value === "string" ? Number(value) : value, place.dataset.unit)
  }

  #draw() {
    if (this.#waiting) return
    this.#waiting = true
    requestAnimationFrame(() => {
      this.#waiting = false
      for (const plot of this.#plots) plot.draw()
      this.#showWhatThereIs()
    })
  }

  #showWhatThereIs() {
    const some = [...this.querySelectorAll("[data-chart]")].some(figure => !figure.hidden)
    this.querySelector(".charts__toolbar").hidden = !some
    this.querySelector(".charts__empty").hidden = some
    this.toggleAttribute("data-drawn", some)
    // For benchmarks/page.py: when somebody saw the first chart.
    if (some) requestAnimationFrame(() => performance.mark("bunsen:first-chart"))
  }

  #rebuild() { for (const plot of this.#plots) plot.rebuild() }

  #chosen = () => {
    const { smoothing, log } = this.#view
    this.#readControls()
    this.#writeAddress()
    // Only a change of style needs new plots; a slider that moves just draws.
    if (log !== this.#view.log || smoothing > 0 !== this.#view.smoothing > 0) this.#rebuild()
    else this.#draw()
  }

  // A range of steps in every chart at once, at the full resolution the server has.
  async #zoom(range) {
    this.#view.range = range
    this.#reset.hidden = !range
    for (const line of this.#lines.values()) line.series.refine(0, 0, null)
    this.#draw()
    if (!range) return
    const [from, to] = range
    const found = await this.#fetch(from, to)
    if (this.#view.range !== range) return
    for (const [id, points] of Object.entries(found)) this.#lines.get(id)?.series.refine(from, to, points)
    this.#draw()
  }

  async #fetch(from, to) {
    const runs = this.dataset.source.split(" ").map(source => this.#fetchOne(source, from, to))
    return Object.assign({}, ...await Promise.all(runs))
  }

  async #fetchOne(source, from, to) {
    const [address, prefix = ""] = source.split("#")
    const response = await fetch(`${address}?points=${ZOOM_POINTS}&from=${from}&to=${to}`)
    if (!response.ok) return {}
    const { series } = await response.json()
    return Object.fromEntries(Object.entries(series).map(([key, points]) => [prefix + key, points]))
  }

  // Smoothing and axis stand in the address, so that a link shows the same picture.
  #readAddress() {
    const asked = new URLSearchParams(location.search)
    this.#smoothing.value = asked.get("smoothing") ?? 0
    this.#log.checked = asked.has("log")
    this.#readControls()
  }

  #readControls() {
    this.#view.smoothing = Number(this.#smoothing.value)
    this.#view.log = this.#log.checked
    this.querySelector("output").textContent = this.#smoothing.value
  }

  #writeAddress() {
    const address = new URL(location)
    const put = (name, value) => value ? address.searchParams.set(name, value) : address.searchParams.delete(name)
    put("smoothing", this.#view.smoothing || "")
    put("log", this.#view.log ? "1" : "")
    history.replaceState(null, "", address)
  }

  get #smoothing() { return this.querySelector("[name=smoothing]") }
  get #log() { return this.querySelector("[name=log]") }
  get #reset() { return this.querySelector("[data-reset]") }
}

customElements.define("chart-grid", ChartGrid)
