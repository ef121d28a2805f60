// Puts the rows of an example into the box, unless somebody's own rows stand there; leads to what
// was wrong with rows that were sent.
class RowExamples extends HTMLElement {
  connectedCallback() {
    this.querySelector("[data-focus]")?.focus()
    this.addEventListener("click", this.#take)
  }

  disconnectedCallback() { this.removeEventListener("click", this.#take) }

  #take = event => {
    const link = event.target.closest("[data-example]")
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    const box = this.querySelector("textarea")
    const examples = [...this.querySelectorAll("[data-example]")]
    if (box.value.trim() && !examples.some(each => each.dataset.example === box.value)) {
      document.dispatchEvent(new CustomEvent("toast", { detail: this.dataset.kept }))
      box.focus()
      return
    }
    box.value = link.dataset.example
    for (const each of examples) each.removeAttribute("aria-current")
    link.setAttribute("aria-current", "true")
    box.focus()
  }
}

customElements.define("row-examples", RowExamples)
