//! A program in a folder.

use std::fs;

/// A small program with what is to be passed over beside it.
pub fn program() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put(
        "src/config.py",
        b"\"\"\"Settings.\"\"\"\n\n\ndef parse(path):\n    # parse the file; see parse() and `parse`\n    return open(path).read()\n\n\ndef defaults():\n    return parse(\"defaults.ini\")\n",
    );
    put(
        "src/main.py",
        b"import json\nfrom config import parse\n\n\ndef main():\n    print(parse(\"my.ini\"), \"parse\", json.parse(\"{}\"))\n    parse_all = 1\n",
    );
    put(
        "src/other.py",
        b"import config\n\n\ndef run():\n    return config.parse(\"a\")\n",
    );
    put(
        "src/args.js",
        b"function parse(argv) {\n  return argv;\n}\n",
    );
    put(
        "README.md",
        b"# Demo\n\nCall `parse` or parse(path) to parse a file.\n",
    );
    put("notes.txt", b"Buy milk.\n");
    put(".gitignore", b"build/\n*.log\n");
    put("build/out.py", b"def parse(): pass\n");
    put("debug.log", b"parse\n");
    put(".hidden.py", b"def parse(): pass\n");
    put("logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    put("package-lock.json", b"{}\n");
    put(
        "lib.min.js",
        format!("var a={};\n", "1+".repeat(2000)).as_bytes(),
    );
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.py")).unwrap();
    folder
}
