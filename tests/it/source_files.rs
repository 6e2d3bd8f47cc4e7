//! The file to upload: edits that its metadata hide, and changes during the upload.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use local_oss::{Fault, Operation, Rule};
use oss_upload::{Error, Progress, UploadOption, Uploaded, checkpoint, checkpoint_dir, progress};

use crate::harness::{Harness, PART, content, run_in_subprocess};

const SIZE: u64 = 5 * PART + 7;

fn upload<'a>(
    t: &Harness,
    path: &Path,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    t.bucket.upload_file("o", path, PART, options)
}

/// Uploads, and calls `meddle` once as soon as so many parts are acknowledged.
fn upload_meddled_with(
    t: &Harness,
    path: &Path,
    parts: usize,
    meddle: impl Fn(),
) -> Result<Uploaded, Error> {
    let done = Cell::new(false);
    let meddle = |progress: &Progress| {
        if progress.parts_done >= parts && !done.replace(true) {
            meddle();
        }
    };
    upload(
        t,
        path,
        [
            checkpoint_dir(true, t.path("checkpoints")),
            progress(meddle),
        ],
    )
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn source_whose_size_is_not_that_of_its_content_is_rejected() {
    let t = Harness::new();
    let paths = [
        "/proc/version",
        "/proc/self/status",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ];
    for path in paths
        .map(Path::new)
        .into_iter()
        .filter(|path| path.exists())
    {
        let by_path = upload(&t, path, [checkpoint_dir(true, t.path("d"))]).unwrap_err();
        let by_handle = t
            .bucket
            .upload_open_file("o", File::open(path).unwrap(), PART, [])
            .unwrap_err();
        for error in [&by_path, &by_handle] {
            assert!(
                matches!(error, Error::Source { .. }) && !error.is_resumable(),
                "{error}"
            );
            assert!(error.to_string().contains("copy it"), "{error}");
        }
        assert!(
            by_path.to_string().contains(path.to_str().unwrap()),
            "{by_path}"
        );
    }
    assert_eq!(t.server.requests().len(), 0);
    t.assert_files(&[]);
}

/// An ext4 file system with whole-second time stamps. Only root has one to give.
struct CoarseDisk(PathBuf);

impl CoarseDisk {
    fn mount(t: &Harness) -> Option<CoarseDisk> {
        let (image, dir) = (t.path("image"), t.path("coarse"));
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(&dir).unwrap();
        let run =
            |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let mounted = run(Command::new("mkfs.ext4")
            .args(["-q", "-I", "128"])
            .arg(&image))
            && run(Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(&dir));
        if !mounted {
            eprintln!("skipped: no file system with whole-second time stamps can be mounted here");
            return None;
        }
        Some(CoarseDisk(dir))
    }

    /// A file that was written at the beginning of the current second, so that there is time for an
    /// edit.
    fn fresh_file(&self, size: u64) -> PathBuf {
        let path = self.0.join("f");
        fs::write(&path, content("f", size)).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let now = || {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
        };
        while now().subsec_millis() > 50 {
            thread::sleep(Duration::from_millis(5));
        }
        write_at(&path, 1, b"fresh");
        path
    }
}

impl Drop for CoarseDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Changes a byte of the first part. Returns whether the time stamps stayed as they were.
fn edit_within_the_second(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let stamps = || {
        let metadata = fs::metadata(path).unwrap();
        (
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        )
    };
    let before = stamps();
    write_at(path, 100, b"edited");
    before == stamps()
}

/// Runs `attempt` until its edit has left no trace in the time stamps.
fn until_unseen(what: &str, attempt: impl Fn() -> Option<bool>) {
    for _ in 0..20 {
        match attempt() {
            None => return,
            Some(true) => return,
            Some(false) => {}
        }
    }
    eprintln!("skipped: {what}, no edit stayed within one second; this machine is too busy");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "slow: several seconds"]
fn source_edit_within_one_second_between_calls_is_found() {
    for lost_complete in [false, true] {
        until_unseen("between calls", || {
            let t = Harness::new();
            let disk = CoarseDisk::mount(&t)?;
            let path = disk.fresh_file(SIZE);
            let options = || [checkpoint_dir(true, t.path("d"))];
            if lost_complete {
                t.server.inject(
                    Rule::new(Fault::ResetAfterApply)
                        .on(Operation::CompleteMultipartUpload)
                        .forever(),
                );
                t.server
                    .inject(Rule::new(Fault::Reset).on(Operation::HeadObject).forever());
            } else {
                t.refuse_part(4);
            }
            upload(&t, &path, options()).unwrap_err();
            t.server.clear_faults();
            let unseen = edit_within_the_second(&path);
            // The stamps are old when the next call looks.
            thread::sleep(Duration::from_millis(2_500));
            upload(&t, &path, options()).unwrap();
            t.assert_stored("o", &path);
            Some(unseen)
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "slow: several seconds"]
fn source_edit_within_one_second_during_the_upload_is_found() {
    // In one PutObject the last bytes are still to be read when the first ones have been sent.
    for (size, part_size) in [(SIZE, PART), (200 * PART, 300 * PART)] {
        until_unseen("during the upload", || {
            let t = Harness::new();
            let disk = CoarseDisk::mount(&t)?;
            let (path, unseen) = (disk.fresh_file(size), Cell::new(false));
            let slow = Fault::Slow {
                bytes_per_second: 100 * PART,
            };
            t.server
                .inject(Rule::new(slow).on(Operation::PutObject).forever());
            let edited = Cell::new(false);
            let edit = |progress: &Progress| {
                if progress.transferred >= PART + PART / 2 && !edited.replace(true) {
                    unseen.set(edit_within_the_second(&path));
                }
            };
            match t
                .bucket
                .upload_file("o", &path, part_size, [progress(edit)])
            {
                Ok(_) => t.assert_stored("o", &path),
                Err(error) => assert!(matches!(error, Error::SourceChanged { .. }), "{error}"),
            }
            Some(unseen.get())
        });
    }
}

/// A checkpoint with other lines and a checksum that fits.
fn rewrite(checkpoint: &Path, change: impl Fn(&str) -> Option<String>) {
    let text = fs::read_to_string(checkpoint).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("md5 "));
    let mut text: String = lines.filter_map(change).map(|line| line + "\n").collect();
    text += &format!("md5 {:x}\n", md5::compute(&text));
    fs::write(checkpoint, text).unwrap();
}

/// After a power cut a file can have the times of its last edit and the bytes from before it.
#[cfg(target_os = "linux")]
#[test]
fn source_is_read_again_after_a_restart_of_the_system() {
    use std::os::unix::fs::MetadataExt;
    let t = Harness::new();
    let path = t.file("f", SIZE);
    t.refuse_part(4);
    upload(&t, &path, [checkpoint(true, "")]).unwrap_err();
    t.server.clear_requests();
    write_at(&path, PART + 5, b"lost");
    thread::sleep(Duration::from_millis(2_500));
    let metadata = fs::metadata(&path).unwrap();
    let nanoseconds =
        |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    rewrite(&t.path("f.cp"), |line| {
        Some(match line.split_once(' ').unwrap().0 {
            "mtime" => format!(
                "mtime {}",
                nanoseconds(metadata.mtime(), metadata.mtime_nsec())
            ),
            "identity" => {
                let ctime = nanoseconds(metadata.ctime(), metadata.ctime_nsec());
                format!("identity {ctime} {} {}", metadata.dev(), metadata.ino())
            }
            "boot-id" => "boot-id 00000000000000000000000000000001".into(),
            "doubtful" => "doubtful false".into(),
            _ => line.into(),
        })
    });
    let uploaded = upload(&t, &path, [checkpoint(true, "")]).unwrap();
    t.assert_stored("o", &path);
    assert_eq!(uploaded.parts_resumed, 2);
    assert_eq!(t.parts_sent(), [2, 4, 5, 6]);
}

/// What has been mapped into memory and written is seen only after it was synced.
#[cfg(target_os = "linux")]
#[test]
fn source_written_through_a_memory_map_is_noticed() {
    const WRITER: &str = "import mmap, sys\n\
        file = open(sys.argv[1], 'r+b')\n\
        memory = mmap.mmap(file.fileno(), 0)\n\
        for line in sys.stdin:\n\
        \x20   memory[int(line)] ^= 1\n\
        \x20   print('done', flush=True)\n";
    let t = Harness::new();
    let path = t.file("f", SIZE);
    let kind = Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(&path)
        .output();
    if !kind.is_ok_and(|output| output.stdout.starts_with(b"ext")) {
        eprintln!("skipped: not an ext4 file system");
        return;
    }
    let writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut writer) = writer else {
        eprintln!("skipped: there is no python3");
        return;
    };
    let (mut input, mut output) = (writer.stdin.take().unwrap(), writer.stdout.take().unwrap());
    let mut write = |offset: u64| {
        writeln!(input, "{offset}").unwrap();
        output.read_exact(&mut [0; 5]).unwrap();
    };
    // The pages are dirty, and so may be written to without a fault.
    (0..=SIZE / 4096).for_each(|page| write(page * 4096 % SIZE));
    thread::sleep(Duration::from_millis(2_500));
    let write = std::cell::RefCell::new(write);
    let result = upload_meddled_with(&t, &path, 3, || {
        let mut write = write.borrow_mut();
        write(10);
        write(SIZE - 10);
    });
    drop(input);
    writer.wait().unwrap();
    let error = result.unwrap_err();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error}");
}

/// Some file systems give a file another inode at each look. Its bytes decide.
#[cfg(unix)]
#[test]
fn source_at_another_inode_with_the_same_bytes_is_the_same() {
    for same_bytes in [true, false] {
        let t = Harness::new();
        let path = t.file("f", SIZE);
        let copy = || {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            let name = if same_bytes { "f" } else { "other" };
            fs::write(t.path("copy"), content(name, SIZE)).unwrap();
            File::options()
                .write(true)
                .open(t.path("copy"))
                .unwrap()
                .set_modified(modified)
                .unwrap();
            fs::rename(t.path("copy"), &path).unwrap();
        };
        let result = upload_meddled_with(&t, &path, 3, copy);
        match same_bytes {
            true => {
                result.unwrap();
                t.assert_stored("o", &path);
            }
            false => {
                let error = result.unwrap_err();
                assert!(
                    matches!(error, Error::SourceChanged { replaced: true, .. }),
                    "{error}"
                );
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn source_reached_by_another_path_resumes() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    t.refuse_part(4);
    upload(&t, &path, [checkpoint(true, t.path("c"))]).unwrap_err();
    t.server.clear_requests();
    std::os::unix::fs::symlink(&path, t.path("link")).unwrap();
    let uploaded = upload(&t, &t.path("link"), [checkpoint(true, t.path("c"))]).unwrap();
    assert_eq!(uploaded.parts_resumed, 3);
    assert_eq!(t.parts_sent(), [4, 5, 6]);
    t.assert_stored("o", &path);
}

#[test]
fn source_deleted_in_mid_upload_is_called_so() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    let error = upload_meddled_with(&t, &path, 2, || fs::remove_file(&path).unwrap()).unwrap_err();
    assert!(
        matches!(error, Error::SourceChanged { replaced: true, .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("was deleted or replaced"),
        "{error}"
    );
    assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);
}

#[cfg(unix)]
#[test]
fn source_that_cannot_be_looked_at_is_not_called_changed() {
    use std::os::unix::fs::symlink;
    let t = Harness::new();
    fs::create_dir(t.path("dir")).unwrap();
    t.file("dir/f", SIZE);
    symlink(t.path("dir"), t.path("link")).unwrap();
    // Afterwards the path runs in a circle: neither found nor not found.
    let error = upload_meddled_with(&t, &t.path("link/f"), 2, || {
        fs::remove_file(t.path("link")).unwrap();
        symlink(t.path("link"), t.path("link")).unwrap();
    })
    .unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
}

/// A relative path can lead to a file whose absolute path no system call takes.
#[cfg(target_os = "linux")]
#[test]
fn source_that_cannot_be_looked_at_by_its_absolute_path_is_rejected_first() {
    if !run_in_subprocess(
        "source_files::source_that_cannot_be_looked_at_by_its_absolute_path_is_rejected_first",
    ) {
        return;
    }
    let t = Harness::new();
    std::env::set_current_dir(t.path("")).unwrap();
    let name = "d".repeat(200);
    for _ in 0..21 {
        fs::create_dir(&name).unwrap();
        std::env::set_current_dir(&name).unwrap();
    }
    fs::write("f", content("f", SIZE)).unwrap();
    let result = upload(&t, Path::new("f"), []);
    (0..21).for_each(|_| std::env::set_current_dir("..").unwrap());
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    assert_eq!(t.server.requests().len(), 0);
}

#[test]
fn source_that_grows_stops_the_upload_at_the_next_part() {
    for size in [50 * PART + 1, 50 * PART - 1] {
        let t = Harness::new();
        let path = t.file("f", 50 * PART);
        let resize = || {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(size)
                .unwrap()
        };
        let error = upload_meddled_with(&t, &path, 3, resize).unwrap_err();
        assert!(
            matches!(
                error,
                Error::SourceChanged {
                    replaced: false,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            t.parts_sent().len() < 10,
            "{} parts were sent in vain",
            t.parts_sent().len()
        );
    }
}

/// Whoever may write to the directory can swap the file at any moment.
#[cfg(unix)]
#[test]
fn source_swapped_for_a_pipe_does_not_hang() {
    let t = Harness::new();
    let (path, pipe) = (t.path("f"), t.path("pipe"));
    if !Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: there is no mkfifo");
        return;
    }
    let file = t.file("file", 8);
    fs::hard_link(&file, &path).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for kind in [&pipe, &file] {
                    fs::hard_link(kind, t.path("next")).unwrap();
                    fs::rename(t.path("next"), &path).unwrap();
                    // Renaming does nothing where both are the same file.
                    let _ = fs::remove_file(t.path("next"));
                }
            }
        });
        // If a call waits in `open`, this ends the wait, and the test fails.
        let rescued = scope.spawn(|| {
            let started = std::time::Instant::now();
            while !over.load(Ordering::Relaxed) && started.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(20));
            }
            let hung = !over.swap(true, Ordering::Relaxed);
            let rescuer = File::options().read(true).write(true).open(&pipe).unwrap();
            thread::sleep(Duration::from_millis(if hung { 500 } else { 0 }));
            drop(rescuer);
            hung
        });
        for _ in 0..3_000 {
            if over.load(Ordering::Relaxed) {
                break;
            }
            // The part size is wrong, so that nothing is sent.
            let _ = t.bucket.upload_file("o", &path, 1, []);
        }
        over.store(true, Ordering::Relaxed);
        assert!(
            !rescued.join().unwrap(),
            "the call waited for somebody to write into the pipe"
        );
    });
}

#[test]
fn source_of_any_age_is_uploaded() {
    let epoch = SystemTime::UNIX_EPOCH;
    for stamp in [
        epoch.checked_sub(Duration::from_secs(2_177_452_800)),
        epoch.checked_sub(Duration::from_secs(1)),
        Some(epoch),
        epoch.checked_add(Duration::from_secs(10_413_792_000)),
    ] {
        let t = Harness::new();
        let path = t.file("f", 3 * PART);
        let Some(stamp) = stamp else { continue };
        if File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(stamp)
            .is_err()
        {
            continue;
        }
        t.refuse_part(2);
        upload(&t, &path, [checkpoint(true, "")]).unwrap_err();
        let uploaded = upload(&t, &path, [checkpoint(true, "")]).unwrap();
        assert_eq!(uploaded.parts_resumed, 1);
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
    }
}
