// A text with a button that copies it; without a clipboard the text can still be selected.
class CopyText extends HTMLElement {
  connectedCallback() {
    if (!navigator.clipboard) return
    const button = this.querySelector("[data-copy]")
    button.hidden = false
    button.addEventListener("click", this.#copy)
  }

  #copy = async () => {
    try {
      await navigator.clipboard.writeText(this.querySelector("[data-text]").textContent)
      document.dispatchEvent(new CustomEvent("toast", { detail: this.dataset.copied }))
    } catch {
      getSelection().selectAllChildren(this.querySelector("[data-text]"))
    }
  }
}

customElements.define("copy-text", CopyText)
