// Rust's standard library on WASI: a shelf of notes in files, kept from one run to the next.
//   shelf FOLDER add NAME TEXT...   list   check   panic
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

fn notes(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() { found.insert(entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()); }
    }
    Ok(found)
}
fn add(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let draft = folder.join(".draft");
    let mut file = File::create(&draft)?;
    writeln!(file, "{}", text)?;
    file.sync_all()?;
    fs::rename(draft, folder.join(name))
}
fn check(folder: &Path) -> io::Result<()> {
    let deep: PathBuf = folder.join("a/b/c");
    fs::create_dir_all(&deep)?;
    let path = deep.join("numbers");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    for n in 0..10_000u32 { file.write_all(&n.to_le_bytes())?; }
    file.seek(SeekFrom::Start(4 * 1234))?;
    let mut four = [0u8; 4];
    file.read_exact(&mut four)?;
    assert_eq!(u32::from_le_bytes(four), 1234);
    file.set_len(4)?;
    assert_eq!(file.metadata()?.len(), 4);
    assert_eq!(fs::read(&path)?, [0, 0, 0, 0]);
    assert_eq!(File::open(deep.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(fs::create_dir(&deep).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(fs::remove_dir(folder.join("a")).is_err());
    fs::remove_dir_all(folder.join("a"))?;
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert!(SystemTime::now() > SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    println!("checked {}", std::env::var("WHO").unwrap_or_default());
    Ok(())
}
fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(&args[0]);
    match args[1].as_str() {
        "add" => add(folder, &args[2], &args[3..].join(" ")),
        "list" => {
            for (name, bytes) in notes(folder)? { println!("{} {} {}", name, bytes, BufReader::new(File::open(folder.join(&name))?).lines().next().unwrap()?); }
            Ok(())
        }
        "check" => check(folder),
        "echo" => { for line in io::stdin().lock().lines().take(2) { println!("heard {}", line?); } std::process::exit(9) }
        other => panic!("no such verb: {}", other),
    }
}
