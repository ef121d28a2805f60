// Numbers as people read them, in the language of the page; the server's `measured` in small.
const language = document.documentElement.lang
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"]
const forms = new Map()

function plain(value, digits) {
  if (!forms.has(digits)) forms.set(digits, new Intl.NumberFormat(language, { maximumSignificantDigits: digits }))
  return forms.get(digits).format(value)
}

export function format(value, unit = "", digits = 4) {
  if (value === null || value === undefined) return "–"
  if (Number.isNaN(value)) return "NaN"
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞"
  if (unit === "bytes") return bytes(value, digits)
  if (unit === "fraction") return `${plain(value * 100, digits)} %`
  if (unit === "s" && Math.abs(value) < 1) return `${plain(value * 1000, digits)} ms`
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(Math.min(2, digits - 1))
  const text = plain(value, size >= 1000 ? Math.max(digits, Math.floor(Math.log10(size)) + 1) : digits)
  return unit === "s" ? `${text} s` : text
}

function bytes(value, digits) {
  const power = Math.max(0, Math.min(BYTES.length - 1, Math.floor(Math.log2(Math.abs(value) || 1) / 10)))
  return `${plain(value / 1024 ** power, digits)} ${BYTES[power]}`
}

// A length of time in its two largest units, in the server's words (templates/base.html).
export function duration(total) {
  const whole = Math.max(0, Math.round(total))
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const { hours, minutes, seconds } = document.documentElement.dataset
  return filled(h ? hours : m ? minutes : seconds, { h, m, s })
}

// A length of time as people say it: seconds by tens, then minutes, then hours.
export function roughly(seconds) {
  const words = document.documentElement.dataset
  if (seconds < 90) return filled(words.seconds, { s: Math.round(seconds / 10) * 10 })
  const minutes = Math.round(seconds / 60)
  if (minutes < 90) return filled(words.wholeMinutes, { minutes })
  return duration(minutes * 60)
}

const filled = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name])
