// Package waltest is a faulty disk for tests: a file system in user space
// (FUSE) that passes everything on to a folder, fails chosen operations, and
// knows what a power loss would leave of what has been written.
//
// It needs root and /dev/fuse. Without them a test that asks for it is skipped,
// or fails if the environment variable CI is set.
package waltest
