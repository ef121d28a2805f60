// The form that starts a run: leads to what is wrong, takes an alternative over, is sent once.
class RunForm extends HTMLElement {
  connectedCallback() {
    this.querySelector("[data-focus]")?.focus()
    this.addEventListener("click", this.#takeOver)
    this.addEventListener("submit", this.#send)
    window.addEventListener("pageshow", this.#return)
  }

  disconnectedCallback() {
    window.removeEventListener("pageshow", this.#return)
  }

  #return = () => { this.#button.disabled = false }

  #send = () => { this.#button.disabled = true }

  // A button of the estimate carries the parameters of a variant that needs less.
  #takeOver = event => {
    const values = event.target.closest("[data-set]")?.dataset.set
    if (!values) return
    for (const [name, value] of Object.entries(JSON.parse(values))) this.#set(name, value)
    this.querySelector("form").dispatchEvent(new Event("change"))
  }

  #set(name, value) {
    const control = this.querySelector("form").elements.namedItem(name)
    if (!control) return
    if (control.type === "checkbox") control.checked = value === true || value === "true"
    else control.value = value
  }

  get #button() { return this.querySelector("[data-once]") }
}

customElements.define("run-form", RunForm)
