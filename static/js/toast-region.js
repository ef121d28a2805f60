// Says what went wrong with a request that the page made by itself.
class ToastRegion extends HTMLElement {
  connectedCallback() {
    document.addEventListener("htmx:response:error", this.#refused)
    document.addEventListener("htmx:error", this.#unreachable)
    document.addEventListener("toast", this.#asked)
  }

  disconnectedCallback() {
    document.removeEventListener("htmx:response:error", this.#refused)
    document.removeEventListener("htmx:error", this.#unreachable)
    document.removeEventListener("toast", this.#asked)
  }

  #refused = event => {
    const { response } = event.detail.ctx
    if (response.status === 422) return  // the form itself says what to correct
    this.#say(response.status === 401 ? this.dataset.signedOut : this.dataset.failed)
  }

  #unreachable = event => { if (event.detail.ctx) this.#say(this.dataset.offline) }
  #asked = event => this.#say(event.detail)

  #say(sentence) {
    if ([...this.children].some(toast => toast.firstChild.textContent === sentence)) return
    const toast = document.createElement("div")
    toast.className = "toast"
    const text = document.createElement("span")
    text.textContent = sentence
    const close = document.createElement("button")
    close.type = "button"
    close.textContent = this.dataset.close
    close.addEventListener("click", () => toast.remove())
    toast.append(text, close)
    this.append(toast)
    setTimeout(() => toast.remove(), 8000)
  }
}

customElements.define("toast-region", ToastRegion)
