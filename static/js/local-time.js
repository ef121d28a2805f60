// The server writes instants in UTC; here they are shown in the reader's own zone.
const language = document.documentElement.lang
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" })
const hour = new Intl.DateTimeFormat(language, { timeStyle: "short" })
const both = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" })

function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const instant = new Date(time.dateTime)
    if (Number.isNaN(instant.getTime())) continue
    // The end of a stretch of time says its day only if it is another one than where it begins.
    const known = time.dataset.since ? new Date(time.dataset.since) : new Date()
    const isKnownDay = day.format(instant) === day.format(known)
    time.title = `${both.format(instant)} (${time.textContent.trim()})`
    time.textContent = isKnownDay ? hour.format(instant) : both.format(instant)
  }
}

localize(document)
document.addEventListener("htmx:after:swap", () => localize(document))
