// <local-time><time datetime="…">…</time></local-time>: the server's UTC in the reader's own zone.
class LocalTime extends HTMLElement {
  connectedCallback() {
    const time = this.querySelector("time")
    const instant = new Date(time?.dateTime)
    if (!time || Number.isNaN(instant.getTime())) return
    const language = document.documentElement.lang
    time.title = time.textContent
    time.textContent = instant.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" })
  }
}

customElements.define("local-time", LocalTime)
