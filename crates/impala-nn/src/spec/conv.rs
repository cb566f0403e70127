//! Reads and writes a convolution as text, such as `16x8/4`.

use std::fmt;
use std::str::FromStr;

use super::Conv;

/// Text that does not describe a convolution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a convolution, write FILTERSxKERNEL/STRIDE such as 16x3/1 (each from 1 to 4096)"
)]
pub struct NoConv {
    text: String,
}

impl Conv {
    /// Side of the output for an input of side `pixels`; `None` if the kernel does not fit.
    #[must_use]
    pub fn output_side(&self, pixels: usize) -> Option<usize> {
        Some(pixels.checked_sub(self.kernel)? / self.stride + 1)
    }
}

impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}/{}", self.filters, self.kernel, self.stride)
    }
}

impl FromStr for Conv {
    type Err = NoConv;

    fn from_str(text: &str) -> Result<Self, NoConv> {
        let number =
            |part: &str| part.trim().parse::<usize>().ok().filter(|n| (1..=4096).contains(n));
        let parts = || {
            let (filters, rest) = text.split_once('x')?;
            let (kernel, stride) = rest.split_once('/').unwrap_or((rest, "1"));
            Some(Self {
                filters: number(filters)?,
                kernel: number(kernel)?,
                stride: number(stride)?,
            })
        };
        parts().ok_or_else(|| NoConv { text: text.to_owned() })
    }
}

impl TryFrom<String> for Conv {
    type Error = NoConv;

    fn try_from(text: String) -> Result<Self, NoConv> {
        text.parse()
    }
}

impl From<Conv> for String {
    fn from(conv: Conv) -> Self {
        conv.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nonsense_does_not() {
        for text in ["16x3/1", "32x4/2"] {
            assert_eq!(text.parse::<Conv>().expect("valid").to_string(), text);
        }
        assert_eq!("16x3".parse::<Conv>(), Ok(Conv { filters: 16, kernel: 3, stride: 1 }));
        for text in ["", "16", "x3", "0x3", "16x0", "16x3/0", "-1x3", "16x3/1/1", "9999x3"] {
            assert!(text.parse::<Conv>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_convolution_shrinks_its_input() {
        let conv = Conv { filters: 16, kernel: 8, stride: 4 };
        assert_eq!(conv.output_side(84), Some(20));
        assert_eq!(conv.output_side(8), Some(1));
        assert_eq!(conv.output_side(7), None);
    }
}
