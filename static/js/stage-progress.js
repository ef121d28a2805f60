// How far the current stage is, between two renderings by the server.
import { duration } from "./format.js"

class StageProgress extends HTMLElement {
  #stream = null

  connectedCallback() {
    this.#stream = this.closest("run-stream")
    this.#stream?.addEventListener("run:progress", this.#show)
  }

  disconnectedCallback() { this.#stream?.removeEventListener("run:progress", this.#show) }

  #show = ({ detail: { stage, done, total, note } }) => {
    if (stage !== this.dataset.stage || !total) return
    const share = Math.min(.99, done / total)  // 100 % is the server's word
    this.querySelector("progress").value = share
    this.querySelector("[data-share]").textContent = `${Math.round(share * 100)} %`
    this.querySelector("[data-note]").textContent = note ?? ""
    this.querySelector("[data-left]").textContent = this.#left(share)
  }

  #left(share) {
    const since = new Date(this.dataset.since).getTime()
    if (Number.isNaN(since) || share < .03) return ""
    const seconds = (Date.now() - since) / 1000 * (1 - share) / share
    return this.dataset.left.replace("{time}", duration(seconds))
  }
}

customElements.define("stage-progress", StageProgress)
