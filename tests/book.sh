#!/bin/sh
# Builds docs/ as a book, after a look whether each page is in its contents and each link between pages leads somewhere. `make book` runs it.
set -eu
cd "$(dirname "$0")/../docs"

wrong=0
for page in *.md; do
  [ "$page" = SUMMARY.md ] || grep -qF "($page)" SUMMARY.md || { echo "book: docs/$page is not in docs/SUMMARY.md" >&2; wrong=1; }
  # shellcheck disable=SC2013 # Names of pages have no spaces.
  for target in $(grep -oE '\]\([^):]+\.md[#)]' "$page" | sed 's/^](//; s/[#)]$//'); do
    [ -f "$target" ] || { echo "book: docs/$page leads to $target, which is not there" >&2; wrong=1; }
  done
done
[ "$wrong" = 0 ] || exit 1

if ! command -v mdbook >/dev/null; then
  echo "book: skipped (mdbook is not installed: cargo install --locked mdbook)"
  exit 0
fi
mdbook build
# The page of e2e/ is no part of the book.
sed -i 's|<a href="\.\./e2e/README\.html">\([^<]*\)</a>|\1|g' ../target/book/*.html
