// Sends the form around it as soon as a choice inside it changes; without JavaScript a button does.
class AutoSubmit extends HTMLElement {
  connectedCallback() { this.addEventListener("change", this.#send) }
  disconnectedCallback() { this.removeEventListener("change", this.#send) }

  #send = () => this.closest("form").requestSubmit()
}

customElements.define("auto-submit", AutoSubmit)
