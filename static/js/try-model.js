// A prompt to a served model, and its answer as it is written. Sends the form as any other would be
// sent and reads the stream of OpenAI's interface that comes back.
import { duration, format } from "./format.js"

class TryModel extends HTMLElement {
  #asking = null

  connectedCallback() {
    this.hidden = false
    this.addEventListener("submit", this.#send)
    this.addEventListener("keydown", this.#press)
    this.#part("stop").addEventListener("click", this.#stop)
  }

  disconnectedCallback() { this.#stop() }

  #press = event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.querySelector("form").requestSubmit()
    if (event.key === "Escape") this.#stop()
  }

  #stop = () => this.#asking?.abort()

  #send = async event => {
    event.preventDefault()
    if (this.#asking) return
    this.#begin()
    const asked = { began: performance.now(), first: null, tokens: 0 }
    try {
      const { action } = event.target
      const answer = await fetch(action, { method: "POST", body: new FormData(event.target), signal: this.#asking.signal })
      await (answer.ok ? this.#read(answer.body, asked) : this.#refused(answer))
    } catch {
      this.#tell("error", this.#asking.signal.aborted ? this.dataset.stopped : this.dataset.failed)
    }
    this.#end(asked)
  }

  #begin() {
    this.#asking = new AbortController()
    for (const name of ["answer", "error", "note"]) this.#tell(name, "")
    this.#busy(true)
  }

  #end({ began, first, tokens }) {
    this.#asking = null
    this.#busy(false)
    if (first === null || !tokens) return
    const seconds = (performance.now() - began) / 1000
    const values = { tokens, seconds: seconds < 60 ? format(seconds, "s", 3) : duration(seconds), first: format(first / 1000, "s", 3) }
    this.#tell("note", this.dataset.figures.replace(/\{(\w+)\}/g, (_, name) => values[name]))
  }

  // Focus stays in the form: what was pressed is not taken away while it answers.
  #busy(now) {
    this.#part("log").setAttribute("aria-busy", now)
    this.#part("stop").disabled = !now
    this.querySelector("form button:not([type])").setAttribute("aria-disabled", now)
  }

  async #refused(answer) {
    const told = await answer.json().catch(() => null)
    this.#tell("error", told?.error?.message ?? this.dataset.failed)
  }

  async #read(body, asked) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader()
    for (let text = "", piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const lines = (text + piece.value).split("\n")
      text = lines.pop()
      for (const line of lines) this.#hear(line, asked)
    }
  }

  #hear(line, asked) {
    if (line.startsWith(": usage ")) asked.tokens = JSON.parse(line.slice(8)).completion_tokens
    if (!line.startsWith("data: {")) return
    const { choices = [], error } = JSON.parse(line.slice(6))
    if (error) this.#tell("error", error.message)
    const words = choices[0]?.delta?.content ?? choices[0]?.text ?? ""
    if (words) asked.first ??= performance.now() - asked.began
    this.#part("answer").append(words)
  }

  #part(name) { return this.querySelector(`[data-${name}]`) }

  #tell(name, text) {
    const part = this.#part(name)
    part.textContent = text
    if (name === "error") part.hidden = !text
  }
}

customElements.define("try-model", TryModel)
