// The day and hours of a form are the reader's own: the server is told how far their zone is from UTC.
class OwnZone extends HTMLElement {
  #form = null

  connectedCallback() {
    this.#form = this.closest("form")
    this.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone
    if ("fresh" in this.dataset) this.#form.elements.day.value = this.#today()
    this.#form.addEventListener("formdata", this.#tell)
  }

  disconnectedCallback() { this.#form?.removeEventListener("formdata", this.#tell) }

  // The offset of that day and hour, not of now: summer time may lie between.
  #tell = ({ formData }) => {
    const start = new Date(`${formData.get("day")}T${formData.get("from")}`)
    if (!Number.isNaN(start.getTime())) formData.set("offset", String(-start.getTimezoneOffset()))
  }

  #today() {
    const now = new Date()
    return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10)
  }
}

customElements.define("own-zone", OwnZone)
