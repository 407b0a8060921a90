package atomicfile

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// ReadJSON reads a file that was written whole; anything else is no file.
func ReadJSON(path string, v any) bool {
	b, err := os.ReadFile(path)
	return err == nil && json.Unmarshal(b, v) == nil
}

// WriteJSON makes a file of a cache appear whole, readable by its owner alone. It is
// not synced: after a power failure a missing or torn file costs making it again.
func WriteJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return WriteCache(path, b)
}

// WriteCache is [WriteJSON] for bytes.
func WriteCache(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
