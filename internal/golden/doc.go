// Package golden holds the format to its word. Its tests read a repository that
// was made once and is never made again (testdata/v1), with this program and
// with the small reader that was written from docs/format.md alone
// (testdata/reader), and see that both find damage.
package golden
