//! Shows pictures on a terminal, two pixels to a character, and writes GIFs.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::canvas::{Canvas, palette};
use super::error::PlayError;

/// Hundredths of a second that a picture of a GIF stands.
const GIF_DELAY: u16 = 4;
/// Pixels of a GIF for one of a picture.
const GIF_FACTOR: usize = 3;
/// A GIF of an endless episode must end.
const MAX_GIF_FRAMES: usize = 2000;

/// The picture as lines of half blocks, `factor` pixels taken as one; colours by ANSI codes.
pub(super) fn half_blocks(canvas: &Canvas, factor: usize) -> String {
    let colours = palette();
    let rgb = |x: usize, y: usize| {
        let at = usize::from(canvas.get(x * factor, y * factor)) * 3;
        (colours[at], colours[at + 1], colours[at + 2])
    };
    let mut text = String::new();
    for row in 0..canvas.height / factor / 2 {
        for x in 0..canvas.width / factor {
            let ((r, g, b), (s, t, u)) = (rgb(x, 2 * row), rgb(x, 2 * row + 1));
            text.push_str(&format!("\x1b[38;2;{r};{g};{b};48;2;{s};{t};{u}m\u{2580}"));
        }
        text.push_str("\x1b[0m\r\n");
    }
    text
}

/// A GIF that is being written.
pub(super) struct Gif {
    path: PathBuf,
    size: (u16, u16),
    encoder: gif::Encoder<BufWriter<File>>,
    frames: usize,
}

impl Gif {
    /// Starts a file for pictures like `first`.
    pub(super) fn create(path: &Path, first: &Canvas) -> Result<Self, PlayError> {
        let pixels = |n: usize| u16::try_from(n * GIF_FACTOR).unwrap_or(u16::MAX);
        let size = (pixels(first.width), pixels(first.height));
        let failed = |problem: String| PlayError::Write { path: path.to_owned(), problem };
        let file = File::create(path).map_err(|e| failed(e.to_string()))?;
        let mut encoder = gif::Encoder::new(BufWriter::new(file), size.0, size.1, &palette())
            .map_err(|e| failed(e.to_string()))?;
        encoder.set_repeat(gif::Repeat::Infinite).map_err(|e| failed(e.to_string()))?;
        Ok(Self { path: path.to_owned(), size, encoder, frames: 0 })
    }

    /// Adds a picture.
    pub(super) fn add(&mut self, canvas: &Canvas) -> Result<(), PlayError> {
        self.frames += 1;
        if self.frames > MAX_GIF_FRAMES {
            return Ok(());
        }
        let frame = gif::Frame {
            width: self.size.0,
            height: self.size.1,
            delay: GIF_DELAY,
            buffer: canvas.enlarged(GIF_FACTOR).pixels.into(),
            ..gif::Frame::default()
        };
        let failed = |e: gif::EncodingError| PlayError::Write {
            path: self.path.clone(),
            problem: e.to_string(),
        };
        self.encoder.write_frame(&frame).map_err(failed)
    }

    /// Ends the file.
    pub(super) fn finish(self) -> Result<(), PlayError> {
        let Self { path, encoder, .. } = self;
        let ended = encoder
            .into_inner()
            .map_err(|e| e.to_string())
            .and_then(|mut file| file.flush().map_err(|e| e.to_string()));
        ended.map_err(|problem| PlayError::Write { path, problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::play::canvas::{RED, WHITE};

    #[test]
    fn two_rows_share_a_line_of_text() {
        let mut canvas = Canvas::new(3, 4);
        canvas.rect(0.0, 0.0, 3.0, 1.0, WHITE);
        let text = half_blocks(&canvas, 1);
        assert_eq!(text.matches('\u{2580}').count(), 6);
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("\x1b[38;2;236;239;244;48;2;24;28;36m"), "{text:?}");
    }

    #[test]
    fn a_gif_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("x.gif");
        let mut canvas = Canvas::new(8, 4);
        let mut gif = Gif::create(&path, &canvas).expect("created");
        gif.add(&canvas).expect("added");
        canvas.rect(2.0, 1.0, 2.0, 2.0, RED);
        gif.add(&canvas).expect("added");
        gif.finish().expect("ended");
        let mut decoder =
            gif::DecodeOptions::new().read_info(File::open(&path).expect("there")).expect("a GIF");
        assert_eq!((decoder.width(), decoder.height()), (24, 12));
        let mut buffers = Vec::new();
        while let Some(frame) = decoder.read_next_frame().expect("whole") {
            buffers.push(frame.buffer.to_vec());
        }
        assert_eq!(buffers.len(), 2);
        assert_eq!(buffers[1], canvas.enlarged(GIF_FACTOR).pixels);
    }
}
