// The form of a sweep: a newly chosen parameter brings values that are worth a try, and leaves the rest.
class SweepForm extends HTMLElement {
  #suggested = new Map()

  connectedCallback() {
    for (const axis of this.#axes) this.#suggested.set(axis, this.#chosen(axis).dataset.suggest ?? "")
    this.addEventListener("change", this.#changed)
    this.#hideVaried()
  }

  disconnectedCallback() { this.removeEventListener("change", this.#changed) }

  #changed = event => {
    const axis = event.target.closest("[data-axis]")
    if (axis && event.target.matches("[data-parameter]")) this.#suggest(axis)
    this.#hideVaried()
  }

  // What somebody typed stays; what was suggested for another parameter goes.
  #suggest(axis) {
    const { suggest = "", low = "", high = "", hint = "", number } = this.#chosen(axis).dataset
    const values = axis.querySelector(".axis__list input")
    if (!values.value.trim() || values.value === this.#suggested.get(axis)) values.value = suggest
    this.#suggested.set(axis, suggest)
    // The ends of a range mean nothing for another parameter.
    const [from, to] = axis.querySelectorAll(".axis__range input")
    from.value = low
    to.value = high
    axis.querySelector("p[data-hint]").textContent = hint
    const how = axis.querySelector(".axis__how select")
    if (number === undefined) how.value = "list"
    for (const option of how.options) option.disabled = number === undefined && option.value !== "list"
  }

  // A parameter that varies is not also set below.
  #hideVaried() {
    const varied = new Set(this.#axes.map(axis => this.#chosen(axis).value))
    for (const control of this.querySelectorAll(".field > :is(input, select), .field > .choice > input")) {
      if (!control.closest("[data-axis], [data-drawing]")) control.closest(".field").hidden = varied.has(control.name)
    }
  }

  #chosen(axis) { return axis.querySelector("[data-parameter]").selectedOptions[0] }

  get #axes() { return [...this.querySelectorAll("[data-axis]")] }
}

customElements.define("sweep-form", SweepForm)
