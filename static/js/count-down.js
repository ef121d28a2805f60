// How far an expected stretch of time is away, kept true: "in 4 min to 9 min". The sentences stand
// on an element around it.
import { roughly } from "./format.js"

const EVERY_MS = 5000

class CountDown extends HTMLElement {
  static observedAttributes = ["data-from", "data-to"]
  #timer = null

  connectedCallback() {
    this.#tick()
    this.#timer = setInterval(() => this.#tick(), EVERY_MS)
  }

  disconnectedCallback() { clearInterval(this.#timer) }

  attributeChangedCallback() { if (this.isConnected) this.#tick() }

  #tick() {
    const text = this.#text()
    if (text !== this.textContent) this.textContent = text
  }

  #text() {
    const [from, to] = [this.dataset.from, this.dataset.to].map(time => (new Date(time) - Date.now()) / 1000)
    const words = this.closest("[data-range]").dataset
    if (to < 1) return words.soon
    const [low, high] = [roughly(Math.max(0, from)), roughly(to)]
    if (from < 5 && low !== high) return words.within.replace("{time}", high)
    if (low === high) return words.about.replace("{time}", high)
    return words.range.replace("{low}", low).replace("{high}", high)
  }
}

customElements.define("count-down", CountDown)
