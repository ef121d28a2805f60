// The end of a run's log, growing; it stays at the end unless the reader has scrolled away.
const MOST_CHARACTERS = 400_000
// Lines that were overwritten, and colours: a terminal would not show them in the end either.
const CONTROL = /[^\n]*\r(?=[^\n])|\x1b\[[0-9;]*[A-Za-z]|\r(?=\n)/g

class LogTail extends HTMLElement {
  connectedCallback() {
    this.closest("run-stream")?.addEventListener("run:log", this.#append)
    this.closest("details").addEventListener("toggle", this.#follow)
    this.#text.addEventListener("scroll", this.#scrolled)
    this.#follow()
  }

  #append = ({ detail: { text } }) => {
    this.querySelector(".log__empty").hidden = true
    const whole = (this.#text.textContent + text).replace(CONTROL, "")
    this.#text.textContent = whole.length > MOST_CHARACTERS ? whole.slice(-MOST_CHARACTERS) : whole
    this.#follow()
  }

  #follow = () => { if (this.#box.checked) this.#text.scrollTop = this.#text.scrollHeight }

  #scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = this.#text
    this.#box.checked = scrollHeight - scrollTop - clientHeight < 24
  }

  get #text() { return this.querySelector("pre") }
  get #box() { return this.querySelector("input") }
}

customElements.define("log-tail", LogTail)
