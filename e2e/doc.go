// Package e2e holds the end-to-end tests: they build the real binary, run the demo in
// a temporary folder, and come in through its doors with clients we did not write
// (swaks, curl, mbsync, a browser). It has no code of its own.
package e2e
