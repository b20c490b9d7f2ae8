'use strict';
// Sorting, searching, saving and printing. Everything can be read without.

for (const control of document.querySelectorAll('.control')) control.hidden = false;

// Unknown values come last whichever way it is sorted; rows that are equal keep their order.
function sort(table, column, descending) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => {
    const value = row.cells[column].dataset.sort;
    return {row, value: column > 0 && value !== undefined ? Number(value) : value};
  });
  rows.sort((one, other) => {
    if (one.value === undefined || other.value === undefined) {
      return (one.value === undefined) - (other.value === undefined);
    }
    const order = column > 0 ? one.value - other.value : one.value.localeCompare(other.value);
    return descending ? -order : order;
  });
  body.append(...rows.map(({row}) => row));
}

for (const button of document.querySelectorAll('table.sortable thead button')) {
  button.addEventListener('click', () => {
    const head = button.closest('th');
    const descending = head.getAttribute('aria-sort') === 'ascending';
    for (const other of head.parentNode.querySelectorAll('[aria-sort]')) other.setAttribute('aria-sort', 'none');
    head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    sort(head.closest('table'), Number(button.dataset.column), descending);
  });
}

const search = document.getElementById('search');
if (search) {
  const differing = document.getElementById('differing');
  const found = document.getElementById('found');
  const prompts = Array.from(document.querySelectorAll('.prompt'));
  const texts = new Map();
  const text = (prompt) => {
    if (!texts.has(prompt)) texts.set(prompt, prompt.textContent.toLowerCase());
    return texts.get(prompt);
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter((word) => word);
    let shown = 0;
    for (const prompt of prompts) {
      const fits = (!differing.checked || prompt.dataset.differs === 'true') &&
        words.every((word) => text(prompt).includes(word));
      prompt.hidden = !fits;
      shown += fits;
    }
    const filtered = differing.checked || words.length > 0;
    found.textContent = filtered ? `${shown} of ${prompts.length} shown` : '';
  };
  search.addEventListener('input', filter);
  differing.addEventListener('change', filter);
  search.form.addEventListener('submit', (event) => event.preventDefault());
  // A page that comes back from history keeps what was typed.
  filter();
}

document.getElementById('save').addEventListener('click', () => {
  const data = new Blob([document.getElementById('report').textContent], {type: 'application/json'});
  const link = document.createElement('a');
  link.href = URL.createObjectURL(data);
  link.download = 'report.json';
  link.click();
  URL.revokeObjectURL(link.href);
});

// On paper nothing can be unfolded.
let folded = [];
addEventListener('beforeprint', () => {
  folded = Array.from(document.querySelectorAll('details:not([open])'));
  for (const details of folded) details.open = true;
});
addEventListener('afterprint', () => {
  for (const details of folded) details.open = false;
  folded = [];
});
