// A link to a page that asks once more; here the question opens in place.
class ConfirmDialog extends HTMLElement {
  connectedCallback() { this.addEventListener("click", this.#ask) }

  #ask = event => {
    const dialog = document.getElementById(this.dataset.dialog)
    if (!dialog || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    dialog.querySelector("[data-close]").onclick = () => dialog.close()
    dialog.showModal()
  }
}

customElements.define("confirm-dialog", ConfirmDialog)
