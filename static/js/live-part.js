// A part of a page that renews itself leaves alone what somebody has open in it: a question, a menu.
const OPEN = "details[open], dialog[open], :popover-open"

class LivePart extends HTMLElement {
  connectedCallback() { this.addEventListener("htmx:before:request", this.#wait) }
  disconnectedCallback() { this.removeEventListener("htmx:before:request", this.#wait) }

  #wait = event => {
    const isByItself = event.detail.ctx.sourceEvent?.type === "every"
    if (isByItself && (document.hidden || this.querySelector(OPEN))) event.preventDefault()
  }
}

customElements.define("live-part", LivePart)
