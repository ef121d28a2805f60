// A text with a button that copies it; without a clipboard the text can still be selected.
// That there is one stands on the root: a part that renews itself must not hide its buttons again.
document.documentElement.toggleAttribute("data-clipboard", Boolean(navigator.clipboard))

class CopyText extends HTMLElement {
  connectedCallback() { this.addEventListener("click", this.#copy) }

  #copy = async event => {
    if (!event.target.closest("[data-copy]")) return
    try {
      await navigator.clipboard.writeText(this.querySelector("[data-text]").textContent)
      document.dispatchEvent(new CustomEvent("toast", { detail: this.dataset.copied }))
    } catch {
      getSelection().selectAllChildren(this.querySelector("[data-text]"))
    }
  }
}

customElements.define("copy-text", CopyText)
