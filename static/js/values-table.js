// The points of a chart as a table, for whoever reads rather than looks.
import { format } from "./format.js"

const MOST_ROWS = 200

// columns: the steps, then for each line its values and its smoothed values.
export function valuesTable(lines, columns, words, unit) {
  const [steps] = columns
  const every = Math.max(1, Math.ceil(steps.length / MOST_ROWS))
  const table = document.createElement("table")
  table.className = "table table--tight"
  fillHead(table.createTHead().insertRow(), [words.step, ...lines.map(line => line.label)])
  const body = table.createTBody()
  for (let at = 0; at < steps.length; at += every) {
    const row = body.insertRow()
    row.insertCell().textContent = format(steps[at])
    lines.forEach((_, place) => { row.insertCell().textContent = told(columns[1 + 2 * place][at], unit) })
  }
  const note = document.createElement("p")
  note.className = "quiet small"
  note.textContent = every > 1 ? words.cut.replace("{count}", every) : ""
  return [table, note]
}

function fillHead(row, titles) {
  for (const title of titles) {
    const cell = document.createElement("th")
    cell.scope = "col"
    cell.textContent = title
    row.append(cell)
  }
}

// null is a value that is no number; undefined is none at this step.
function told(value, unit) { return value === null ? "NaN" : format(value, unit) }
