//! Pictures: SVG and PNG, logos, curves, heat maps.
