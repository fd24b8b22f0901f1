package state

import (
	"testing"

	"forebay/shipper"
)

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(shipper.Write{Key: "a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v, err := s.Get("a"); string(v) != "1" || err != nil {
		t.Fatal(v, err)
	}
	t.Logf("%+v", s.Stats())
	_, err = Open(dir, Options{})
	t.Log(err)
}
