// How long something has taken, counting on until it is over.
import { duration } from "./format.js"

class ElapsedTime extends HTMLElement {
  #timer = null

  connectedCallback() {
    if (this.dataset.until) return
    this.#timer = setInterval(() => this.#tick(), 1000)
  }

  disconnectedCallback() { clearInterval(this.#timer) }

  #tick() {
    if (this.dataset.until) return clearInterval(this.#timer)
    this.textContent = duration((Date.now() - new Date(this.dataset.since).getTime()) / 1000)
  }
}

customElements.define("elapsed-time", ElapsedTime)
