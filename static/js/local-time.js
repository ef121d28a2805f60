// The server writes instants in UTC; here they are shown in the reader's own zone.
const form = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" })

function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const instant = new Date(time.dateTime)
    if (Number.isNaN(instant.getTime())) continue
    time.title = time.textContent
    time.textContent = form.format(instant)
  }
}

localize(document)
document.addEventListener("htmx:after:swap", () => localize(document))
