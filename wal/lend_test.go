package wal_test

import (
	"bytes"
	"testing"

	tidwall "github.com/tidwall/wal"

	"forebay/wal"
)

// TestLendBuffer holds the required version of tidwall/wal to the field that a
// buffer is lent through: an update that renames it would only be slower.
func TestLendBuffer(t *testing.T) {
	const segment = 4 << 10
	dir := t.TempDir()
	log, err := tidwall.Open(dir, &tidwall.Options{NoSync: true, SegmentSize: segment, SegmentCacheSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	buffer := make([]byte, 0, 2*segment)
	next := uint64(1)
	for range 3 {
		if !wal.LendBuffer(log, buffer) {
			t.Fatal("the newest segment took no buffer")
		}
		mark := bytes.Repeat([]byte{byte(next)}, segment+1)
		for range 2 { // the second makes a new segment
			if err := log.Write(next, mark[:segment/2+1]); err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(buffer[:cap(buffer)], mark[:segment/2+1]) {
				t.Fatal("the segment does not collect its bytes in the lent buffer")
			}
			if wal.LendBuffer(log, nil) != (next%2 == 0) {
				t.Fatalf("block %d: only an empty segment may be lent a buffer", next)
			}
			next++
		}
		if err := log.ClearCache(); err != nil {
			t.Fatal(err)
		}
	}
}
