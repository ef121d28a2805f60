// Choosing runs to compare: keeps the choice while the list is refreshed, and counts it.
class RunSelect extends HTMLElement {
  #chosen = new Set()

  connectedCallback() {
    const asked = new URLSearchParams(location.search).get("compare")
    if (asked) this.#chosen.add(asked)
    this.addEventListener("change", this.#choose)
    this.addEventListener("submit", this.#send)
    document.addEventListener("htmx:after:swap", this.#restore)
    this.#restore()
  }

  disconnectedCallback() { document.removeEventListener("htmx:after:swap", this.#restore) }

  #choose = ({ target }) => {
    if (target.name !== "runs") return
    if (target.checked) this.#chosen.add(target.value)
    else this.#chosen.delete(target.value)
    this.#count()
  }

  // Runs of other pages and filters are chosen too, so the address is made here.
  #send = event => {
    event.preventDefault()
    if (this.#chosen.size > 1) location.assign(`/compare?runs=${[...this.#chosen].join(",")}`)
  }

  #restore = () => {
    for (const box of this.querySelectorAll("[name=runs]")) box.checked = this.#chosen.has(box.value)
    this.#count()
  }

  #count() {
    const count = this.#chosen.size
    this.querySelector("[data-count]").textContent = count ? this.dataset.picked.replace("{count}", count) : this.dataset.more
    this.querySelector("[data-bar] button").disabled = count < 2
    this.querySelector("[data-bar]").toggleAttribute("data-some", count > 0)
  }
}

customElements.define("run-select", RunSelect)
