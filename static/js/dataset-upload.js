// Sends a dataset in pieces, says how far it is, and goes on where a broken connection left it.
import { format } from "./format.js"

const PAUSES = [500, 1000, 2000, 4000, 8000]

class DatasetUpload extends HTMLElement {
  #stop = null

  connectedCallback() {
    this.addEventListener("submit", this.#send)
    this.addEventListener("change", this.#choose)
    for (const kind of ["dragenter", "dragover"]) this.#drop.addEventListener(kind, this.#over)
    for (const kind of ["dragleave", "drop"]) this.#drop.addEventListener(kind, this.#out)
    this.#drop.addEventListener("drop", this.#take)
    this.#part("cancel").addEventListener("click", () => this.#stop?.abort())
  }

  disconnectedCallback() { this.#stop?.abort() }

  get #drop() { return this.#part("drop") }
  get #input() { return this.querySelector("[type=file]") }
  #part(name) { return this.querySelector(`[data-${name}]`) }
  #say(sentence) { this.#part("status").textContent = sentence ?? "" }

  #over = event => { event.preventDefault(); this.#drop.classList.add("drop--over") }
  #out = () => this.#drop.classList.remove("drop--over")

  #take = event => {
    event.preventDefault()
    if (this.#stop) return
    if (event.dataTransfer.files.length !== 1) { this.#say(this.dataset.one); return }
    this.#input.files = event.dataTransfer.files
    this.#choose()
  }

  #choose = () => { this.#say(""); this.#refuse(null) }

  #send = async event => {
    event.preventDefault()
    const file = this.#input.files[0]
    if (!file || this.#stop) return
    this.#stop = new AbortController()
    this.#busy(true)
    let upload = null
    try {
      upload = await this.#begin(file)
      location.assign(await this.#kept(file, upload))
    } catch (error) {
      await this.#failed(error, upload)
    }
  }

  async #begin(file) {
    const body = new URLSearchParams({ name: file.name, size: file.size, modified: file.lastModified })
    return (await this.#ask("/datasets/uploads", { method: "POST", body })).json()
  }

  // The address of the dataset. Where another tab threw pieces away they are sent once more.
  async #kept(file, upload) {
    const body = new URLSearchParams({ name: file.name, size: file.size })
    for (;;) {
      await this.#pieces(file, upload)
      this.#checking()
      const reply = await this.#ask(`/datasets/uploads/${upload.key}/completion`, { method: "POST", body }, false)
      if (reply.ok) return reply.headers.get("Location")
      upload.received = (await reply.json()).received
      if (upload.received >= file.size) throw new Error("more has arrived than the file holds")
    }
  }

  async #pieces(file, { key, received }) {
    const length = Number(this.dataset.piece)
    this.#show(received, file.size)
    while (received < file.size) {
      const piece = await file.slice(received, received + length).arrayBuffer()
      const reply = await this.#ask(`/datasets/uploads/${key}?offset=${received}`, { method: "PUT", body: piece })
      received = (await reply.json()).received
      this.#show(received, file.size)
    }
  }

  // A request that is made again while nobody answers: each of them may safely arrive twice.
  async #ask(address, options, again = true) {
    for (const pause of [...(again ? PAUSES : []), null]) {
      try {
        const reply = await fetch(address, { ...options, signal: this.#stop.signal })
        if (reply.ok || reply.status === 409) return reply
        if (reply.status < 500 || pause === null) throw new Refused(reply)
      } catch (error) {
        if (error instanceof Refused || error.name === "AbortError" || pause === null) throw error
      }
      this.#say(this.dataset.retry)
      await new Promise(resolve => setTimeout(resolve, pause))
      this.#say("")
    }
  }

  async #failed(error, upload) {
    const stopped = this.#stop.signal.aborted
    this.#stop = null
    this.#busy(false)
    if (stopped && upload) await fetch(`/datasets/uploads/${upload.key}/deletion`, { method: "POST" }).catch(() => null)
    if (stopped) return this.#say(this.dataset.stopped)
    if (!(error instanceof Refused)) return this.#say(this.dataset.broken)
    const { reply } = error
    if (this.#refuse(await reply.text())) return
    this.#say(reply.status === 401 ? this.dataset.signedOut : this.dataset.failed)
  }

  // The server's words for what is wrong, out of the part of the page that it sent; whether it did.
  #refuse(html) {
    const fresh = html && new DOMParser().parseFromString(html, "text/html").querySelector("dataset-upload [data-problems]")
    const shown = this.#part("problems")
    shown.replaceChildren(...(fresh ? fresh.childNodes : []))
    this.#part("field").classList.toggle("field--wrong", Boolean(fresh))
    this.#input.setAttribute("aria-invalid", Boolean(fresh))
    this.#say("")
    if (!fresh) return false
    shown.tabIndex = -1
    shown.focus()
    return true
  }

  #busy(busy) {
    this.#part("send").disabled = busy
    this.#input.disabled = busy
    this.#part("cancel").hidden = !busy
    this.#part("progress").hidden = !busy
    if (busy) { this.#refuse(null); this.#part("amount").textContent = "" }
  }

  #show(done, total) {
    this.querySelector("progress").value = total ? done / total : 1
    this.#part("amount").textContent = this.dataset.sending.replace("{done}", format(done, "bytes", 3)).replace("{total}", format(total, "bytes", 3))
  }

  #checking() {
    this.querySelector("progress").removeAttribute("value")
    this.#part("amount").textContent = ""
    this.#say(this.dataset.checking)
  }
}

class Refused extends Error {
  constructor(reply) { super(reply.statusText); this.reply = reply }
}

customElements.define("dataset-upload", DatasetUpload)
