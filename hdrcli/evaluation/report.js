/* Tables that sort and filter, lines that copy themselves. Events reach the document, so nothing waits for the pictures. */
(() => {
  const compareText = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

  /* Rows by one column; cells without a number come last, whichever the direction. Equal ones keep their order. */
  function sort(head) {
    const table = head.closest("table"), column = head.cellIndex;
    const opposite = { ascending: "descending", descending: "ascending" };
    const direction = opposite[head.getAttribute("aria-sort")] ?? head.dataset.first;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1, text = head.classList.contains("text");
    const key = (row) => {
      const cell = row.cells[column];
      return text ? cell.textContent.trim() : cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    };
    const body = table.tBodies[0], rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (text ? compareText(a, b) : a < b ? -1 : a > b ? 1 : 0);
    });
    body.append(...rows.map(([, row]) => row));
  }

  async function copy(button) {
    const line = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(line.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(line); // no right to the clipboard: one key is left to press
      button.textContent = "marked: press Ctrl+C";
    }
  }

  document.addEventListener("click", (event) => {
    const head = event.target.closest("table.sortable th[data-first]");
    if (head !== null && event.target.closest("button") !== null) sort(head);
    const button = event.target.closest("button.copy");
    if (button !== null) copy(button);
  });

  document.addEventListener("input", (event) => {
    if (!event.target.matches("input.filter")) return;
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const row of document.getElementById(event.target.dataset.table).tBodies[0].rows) {
      const text = `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase();
      row.classList.toggle("left-out", !words.every((word) => text.includes(word)));
    }
  });
})();
