package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestSampleIsTheDefault: the sample parses, and what it sets is what is there without it.
func TestSampleIsTheDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "forebay.yaml")
	if err := os.WriteFile(path, []byte(Sample()), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"FOREBAY_KEYS_POSTGRES_DSN=host=db", "FOREBAY_NODE_ID=n"}
	fromFile, err := Load(path, env)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := Load("", env)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromFile, bare) {
		t.Errorf("the sample sets\n%s\nthe defaults are\n%s", fromFile.Show(), bare.Show())
	}
}
